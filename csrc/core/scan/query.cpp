#include "core/scan/query.h"

#include <algorithm>
#include <cmath>

namespace drq {

int32_t ScanQuery::threshold_at(double key) const {
    // A score must reach the threshold's real value; kernels test "score > threshold", hence the − 1.
    const double needed = std::min((offset + slope * key) * per_unit - 1, double(highest_threshold));
    if (!(needed > lowest_threshold)) return lowest_threshold;  // NaN as well
    const int32_t whole = int32_t(needed);                      // rounded towards zero, which may be up
    return whole > needed ? whole - 1 : whole;
}

/// A vector whose key is at most the bound has an expanded key of at most that, or its key is a sum of
/// differences, and its expanded key at most `stray` above that.
void ScanQuery::refresh() {
    const double bound = key_unit == 1 ? double(sink->bound()) : sink->bound() / key_unit;
    const double furthest = bound + stray;
    constexpr double kRoundedUp = 1e-6;  // more than the conversion to float can take off
    reach = float(furthest + kRoundedUp * std::fabs(furthest));
    threshold = threshold_at(furthest);
}

}  // namespace drq
