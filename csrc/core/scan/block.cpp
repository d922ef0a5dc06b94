#include "core/scan/block.h"

#include <algorithm>
#include <cmath>

namespace drq {

int32_t ScanQuery::threshold_at(double key) const {
    // A score must reach the threshold's real value; kernels test "score > threshold", hence the − 1.
    const double needed = std::floor((offset + slope * key) / unit) - 1;
    if (!(needed > lowest_threshold)) return lowest_threshold;  // NaN as well
    return int32_t(std::min(needed, double(highest_threshold)));
}

/// A vector whose key is at most the bound has an expanded key of at most the bound, or its key is a sum of
/// differences. Then its expanded key is below `small`, and at most `stray` above the other: bounds from
/// `small` on need no margin for that.
void ScanQuery::refresh() {
    const double bound = sink->bound() / key_unit;
    const double furthest = bound < small ? bound + stray : bound;
    constexpr double kRoundedUp = 1e-6;  // more than the conversion to float can take off
    reach = float(furthest + kRoundedUp * std::fabs(furthest));
    threshold = threshold_at(furthest);
}

}  // namespace drq
