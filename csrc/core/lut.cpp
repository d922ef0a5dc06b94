#include "core/lut.h"

#include <algorithm>

#include "core/simd/kernels.h"

namespace drq {

LutLayout::LutLayout(const Quantizer& quantizer, size_t levels) {
    for (size_t m = 0; m < levels; m++) {
        offsets.push_back(size);
        size += quantizer.base(m).stride;
    }
}

void build_luts(const Quantizer& quantizer, const LutLayout& layout, size_t n, const float* x, float* out) {
    const size_t levels = layout.offsets.size();
    for (size_t g = 0; g < quantizer.bases.size(); g++) {
        const auto end = quantizer.group.begin() + ptrdiff_t(levels);
        const size_t first =
            size_t(std::find(quantizer.group.begin(), end, int(g)) - quantizer.group.begin());
        if (first == levels) continue;
        const Quantizer::Base& base = quantizer.bases[g];
        simd::active().products(n, quantizer.d, x, quantizer.d, base.stride, base.columns.data(),
                                out + layout.offsets[first], layout.size);
        // The first level of a base has scale 1, so its table is the product itself.
        for (size_t m = first + 1; m < levels; m++) {
            if (quantizer.group[m] != int(g)) continue;
            for (size_t i = 0; i < n; i++) {
                const float* product = out + i * layout.size + layout.offsets[first];
                float* table = out + i * layout.size + layout.offsets[m];
                for (size_t k = 0; k < base.stride; k++) table[k] = quantizer.scale[m] * product[k];
            }
        }
    }
}

}  // namespace drq
