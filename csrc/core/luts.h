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

/// Σ of the entries that a code's levels have in tables, one level after the other: scales[m] ·
/// lut[offsets[m] + code_of(m)].
template <class CodeOf>
float sum_of_entries(size_t levels, const float* lut, const size_t* offsets, const float* scales,
                     const CodeOf& code_of) {
    float sum = 0;
    for (size_t m = 0; m < levels; m++) sum += scales[m] * lut[offsets[m] + size_t(code_of(m))];
    return sum;
}

/// Bytes of float tables that stay in a thread's cache.
constexpr size_t kCachedTableBytes = 1 << 18;

/// Tables of n centred queries x (n, d), out (n, layout.size): ⟨x, base[k]⟩ for every base in use.
void build_luts(const Quantizer& quantizer, const LutLayout& layout, size_t n, const float* x, float* out);

/// Whether no entry of any level is NaN or infinite.
bool is_finite(const LutLayout& layout, const float* lut);

}  // namespace drq
