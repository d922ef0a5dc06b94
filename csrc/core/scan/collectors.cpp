#include "core/scan/collectors.h"

namespace drq {

namespace {

constexpr size_t kFew = 256;     // values for which a stack has room
constexpr size_t kRanked = 32;   // values of which each is counted against all others
constexpr size_t kTogether = 4;  // of these at a time

typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t FourCounts __attribute__((vector_size(16)));

/// The value with `rank` smaller ones, or one of several equal ones there. Values are readable up to the next
/// multiple of kTogether.
float find_by_rank(const float* values, size_t n, size_t rank) {
    const FourCounts wanted = FourCounts{} + int32_t(rank);
    for (size_t i = 0; i < n; i += kTogether) {
        const Four own = *reinterpret_cast<const Four*>(values + i);
        FourCounts below{}, up_to{};  // counted down, as true is −1
        for (size_t j = 0; j < n; j++) {
            const Four other = Four{} + values[j];
            below += other < own;
            up_to += other <= own;
        }
        const FourCounts found = (-below <= wanted) & (wanted < -up_to);
        for (size_t lane = 0; lane < kTogether; lane++)
            if (found[lane]) return own[lane];
    }
    return values[0];  // not reached, as one of the values has that rank
}

/// The same for any number of values, of which it keeps ever fewer. Its loops have no branch that depends on
/// a value: most would be mispredicted.
float find_by_pivots(float* values, size_t n, size_t rank) {
    uint32_t random = 1;  // whatever the order of the values, few pivots are bad
    while (true) {
        random = random * 747796405 + 2891336453;
        const float pivot = values[uint64_t{random} * n >> 32];
        uint32_t below = 0, up_to = 0;
        for (size_t i = 0; i < n; i++) {
            below += values[i] < pivot;
            up_to += values[i] <= pivot;
        }
        if (rank >= below && rank < up_to) return pivot;
        const bool lower = rank < below;
        const float sign = lower ? 1.f : -1.f;
        size_t kept = 0;
        for (size_t i = 0; i < n; i++) {
            const float value = values[i];
            values[kept] = value;
            kept += sign * value < sign * pivot;
        }
        if (!lower) rank -= up_to;
        n = kept;
    }
}

/// The key of rank k − 1.
template <class Result>
float last_key(const std::vector<Result>& results, size_t k) {
    const size_t n = results.size();
    float few[kFew + kTogether];
    std::vector<float> many(n > kFew ? n : 0);
    float* const keys = many.empty() ? few : many.data();
    for (size_t i = 0; i < n; i++) keys[i] = results[i].first;
    if (n > kRanked) return find_by_pivots(keys, n, k - 1);
    std::fill_n(keys + n, kTogether, 0.f);
    return find_by_rank(keys, n, k - 1);
}

}  // namespace

/// Finds the last key that stays and drops those behind it: of pairs, even comparing is slow.
template <class Result>
void Smallest<Result>::shrink() {
    const float last = last_key(kept_, k_);
    size_t kept = 0;
    for (size_t i = 0; i < kept_.size(); i++) {
        const Result result = kept_[i];
        kept_[kept] = result;
        kept += result.first <= last;
    }
    kept_.resize(kept);
    if (kept > k_) {  // equal keys, of which the ids decide
        std::nth_element(kept_.begin(), kept_.begin() + ptrdiff_t(k_ - 1), kept_.end());
        kept_.resize(k_);
    }
    worst_ = {last, std::numeric_limits<int64_t>::min()};
    for (const Result& result : kept_)
        if (result.first == last) worst_.second = std::max(worst_.second, result.second);
    bound_ = std::min(bound_, last);
}

template <class Result>
std::vector<Result>& Smallest<Result>::sorted() {
    if (kept_.size() > k_) shrink();
    std::sort(kept_.begin(), kept_.end());
    return kept_;
}

template class Smallest<Keyed>;
template class Smallest<Located>;

}  // namespace drq
