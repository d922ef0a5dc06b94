// Inner products in double precision.
#pragma once

#include <cstddef>

namespace drq {

/// ⟨a, b⟩ of two vectors of d floats or doubles.
template <class A, class B>
double product(size_t d, const A* a, const B* b) {
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

/// Takes factor · a off a vector of d numbers.
inline void subtract(size_t d, double factor, const double* a, double* from) {
    for (size_t j = 0; j < d; j++) from[j] -= factor * a[j];
}

}  // namespace drq
