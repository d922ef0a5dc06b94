#include "core/scan/differences.h"

namespace drq {

Differences::Differences(const isa::Kernels& kernels, const Quantizer& quantizer, size_t levels)
    : norm_(kernels.norm_of_sum),
      quantizer_(quantizer),
      levels_(levels),
      zeros_(quantizer.d),
      weights_{-1, 1, 1} {
    weights_.insert(weights_.end(), quantizer.scale.begin(), quantizer.scale.begin() + ptrdiff_t(levels));
}

/// The sum of differences with no level at all.
float Differences::square(const Point& point) const {
    constexpr size_t kSums = 16;  // independent ones, which the compiler turns into vectors
    const float* rows[kPointRows];
    set_point(point, rows);
    const auto [query, centroid, shift] = rows;
    float sums[kSums] = {};
    size_t j = 0;
    for (; j + kSums <= quantizer_.d; j += kSums)
        for (size_t i = 0; i < kSums; i++) {
            const float x = centroid[j + i] - query[j + i] + shift[j + i];
            sums[i] += x * x;
        }
    for (; j < quantizer_.d; j++) {
        const float x = centroid[j] - query[j] + shift[j];
        sums[j % kSums] += x * x;
    }
    for (size_t half = kSums / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) sums[i] += sums[i + half];
    return sums[0];
}

}  // namespace drq
