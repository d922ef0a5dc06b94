// Look-up tables of a query: what each codeword of each level adds to ⟨q, x̂⟩.
#pragma once

#include <cstddef>
#include <vector>

#include "core/quantizer.h"

namespace drq {

/// Where each level's table lies in a query's tables.
struct LutLayout {
    LutLayout(const Quantizer& quantizer, size_t levels);

    std::vector<size_t> offsets;  ///< (levels)
    size_t size = 0;              ///< floats per query
};

/// Tables of n centred queries x (n, d), out (n, layout.size): out[m][k] = scale_m · ⟨x, base_m[k]⟩.
void build_luts(const Quantizer& quantizer, const LutLayout& layout, size_t n, const float* x, float* out);

}  // namespace drq
