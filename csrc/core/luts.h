// Look-up tables of a query: what each codeword of each level adds to ⟨q, x̂⟩.
#pragma once

#include <cstddef>
#include <vector>

#include "core/quantizer.h"

namespace drq {

/// The coordinates of n vectors x (n, d) along the axes of all blocks, to out (n, axes_stride).
void project(const Quantizer& quantizer, size_t n, const float* x, float* out);

/// Where each level's entries come from: levels that share a base share its table, so that tables stay in the
/// caches. Codeword k adds scales[m] · table[offsets[m] + k] to level m.
struct LutLayout {
    LutLayout(const Quantizer& quantizer, size_t levels);

    std::vector<size_t> offsets;  ///< (levels)
    std::vector<float> scales;    ///< (levels)
    float largest_scale = 0;
    size_t size = 0;  ///< floats per query
};

/// Tables of n centred queries x (n, d), out (n, layout.size): ⟨x, base[k]⟩ for every base in use.
void build_luts(const Quantizer& quantizer, const LutLayout& layout, size_t n, const float* x, float* out);

/// Whether no entry of any level is NaN or infinite.
bool is_finite(const LutLayout& layout, const float* lut);

}  // namespace drq
