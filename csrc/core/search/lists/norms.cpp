#include "core/search/lists/norms.h"

#include <vector>

#include "core/luts.h"
#include "core/search/norms.h"

namespace drq {

void list_norms(const Quantizer& quantizer, const Codes& codes, size_t levels, const float* centroid,
                const float* origin, float* out) {
    reconstruction_norms(quantizer, codes, levels, 0, codes.n, out, Executor());
    if (!centroid) return;
    std::vector<float> point(quantizer.d);
    for (size_t j = 0; j < quantizer.d; j++) point[j] = centroid[j] - origin[j] + quantizer.shift[j];
    const LutLayout layout(quantizer, levels);
    std::vector<float> lut(layout.size);
    build_luts(quantizer, layout, 1, point.data(), lut.data());
    std::vector<int32_t> code(levels);
    for (size_t i = 0; i < codes.n; i++) {
        unpack_codes(quantizer, codes, i, 1, levels, code.data());
        out[i] += 2 * sum_of_entries(levels, lut.data(), layout.offsets.data(), layout.scales.data(),
                                     [&](size_t m) { return code[m]; });
    }
}

}  // namespace drq
