// Powers of two to count numbers in where their squares would not fit in floats.
#pragma once

#include <cmath>
#include <cstddef>

namespace drq {

/// A power of two, at least 1: n values divided by it stay below 2^46, so that squares and products of a few
/// thousand of them, summed over levels and dimensions, are finite floats. Dividing by it is exact but for
/// numbers 2^150 times smaller than the largest. It is 1 for values of ordinary size, and where one is not
/// finite.
inline float unit_of(size_t n, const float* values) {
    constexpr int kLargest = 46;
    float largest = 0;
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        const float value = std::fabs(values[i]);
        finite = finite && std::isfinite(value);
        largest = value > largest ? value : largest;
    }
    if (!finite || largest < std::ldexp(1.f, kLargest)) return 1;
    return std::ldexp(1.f, std::ilogb(largest) + 1 - kLargest);
}

/// Divides n values by a power of two.
inline void divide(size_t n, float unit, float* values) {
    if (unit == 1) return;
    for (size_t i = 0; i < n; i++) values[i] /= unit;
}

}  // namespace drq
