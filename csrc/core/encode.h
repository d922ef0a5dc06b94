// Beam-search encoding and the sums that closed-form training needs.
#pragma once

#include <cstdint>

#include "core/executor.h"
#include "core/quantizer.h"

namespace drq {

/// Codes of n vectors x (n, d) by beam search over the levels, to codes (n, M).
///
/// At every level the `beam` partial codes with the smallest squared error are kept; ties go to the earlier
/// partial code, then the lower codeword. The same codes on every SIMD level.
void encode(const Quantizer& quantizer, size_t n, const float* x, int beam, int32_t* codes,
            const Executor& executor);

/// sums[m][k] = Σ of the vectors whose level-m code is k: x (n, d), codes (n, M) → sums (M, K, d).
void code_sums(size_t n, size_t d, const float* x, size_t M, size_t K, const int32_t* codes, double* sums,
               const Executor& executor);

}  // namespace drq
