// Inner products in double precision.
#pragma once

#include <cstddef>

namespace drq {

/// ⟨a, b⟩ of two vectors of d floats.
inline double product(size_t d, const float* a, const float* b) {
    constexpr size_t kSums = 8;  // none waits for another's addition
    double sums[kSums] = {};
    size_t j = 0;
    for (; j + kSums <= d; j += kSums)
        for (size_t i = 0; i < kSums; i++) sums[i] += double(a[j + i]) * b[j + i];
    for (; j < d; j++) sums[j % kSums] += double(a[j]) * b[j];
    for (size_t half = kSums / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) sums[i] += sums[i + half];
    return sums[0];
}

}  // namespace drq
