#include "core/search/lists/norms.h"

namespace drq {

void ListNorm::enter(const float* centroid, const float* origin) {
    twice_.resize(centroid ? quantizer_.d : 0);
    for (size_t j = 0; j < twice_.size(); j++)
        twice_[j] = 2 * (centroid[j] - origin[j] + quantizer_.shift[j]);
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
