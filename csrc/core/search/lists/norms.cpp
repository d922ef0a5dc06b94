#include "core/search/lists/norms.h"

namespace drq {

void ListNorm::enter(const float* centroid, const float* origin) {
    if (!centroid) return norm_.set_other(nullptr);
    std::vector<float> twice(quantizer_.d);
    for (size_t j = 0; j < twice.size(); j++) twice[j] = 2 * (centroid[j] - origin[j] + quantizer_.shift[j]);
    norm_.set_other(twice.data());
}

void list_norms(const Quantizer& quantizer, const Codes& codes, size_t levels, const float* centroid,
                const float* origin, float* out) {
    ListNorm norm(quantizer, levels);
    norm.enter(centroid, origin);
    std::vector<int32_t> code(levels);
    for (size_t i = 0; i < codes.n; i++) {
        unpack_codes(quantizer, codes, i, 1, levels, code.data());
        out[i] = norm(code.data());
    }
}

}  // namespace drq
