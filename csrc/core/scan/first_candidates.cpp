#include "core/scan/first_candidates.h"

#include <algorithm>
#include <cmath>

#include "core/scan/rescore.h"
#include "core/scan/score_kind.h"

namespace drq {

namespace {

constexpr size_t kMost = 1 << 13;  // vectors of a block; more do without
constexpr size_t kGroups = 4;      // for each result wanted, at least
constexpr size_t kMostGroups = kMost / 2;

typedef int16_t Eight __attribute__((vector_size(16), aligned(2), may_alias));

/// best[i] = max(best[i], scores[i]) for 64 scores.
void keep_best(const int16_t* scores, int16_t* best) {
    for (size_t i = 0; i < 64; i += 8) {
        const Eight own = *reinterpret_cast<const Eight*>(best + i);
        const Eight other = *reinterpret_cast<const Eight*>(scores + i);
        *reinterpret_cast<Eight*>(best + i) = own > other ? own : other;
    }
}

/// How many of n values are at least `least`; n a multiple of 64.
size_t count_from(int16_t least, const int16_t* values, size_t n) {
    Eight found{};
    for (size_t i = 0; i < n; i += 8) found -= *reinterpret_cast<const Eight*>(values + i) >= Eight{} + least;
    size_t count = 0;
    for (int i = 0; i < 8; i++) count += size_t(found[i]);
    return count;
}

/// At least `rank` of n scores are this high. The best of every group stands for it: groups are many enough
/// to seldom have two of the best.
int16_t high_score(const int16_t* scores, size_t n, size_t groups, size_t rank) {
    int16_t best[kMostGroups];
    std::copy_n(scores, groups, best);
    for (size_t first = groups; first < n; first += 64) keep_best(scores + first, best + first % groups);
    const auto [lowest, highest] = std::minmax_element(best, best + groups);
    int low = *lowest, high = *highest;
    while (low < high) {  // the answer is one of low to high
        const int middle = (low + high + 1) >> 1;
        if (count_from(int16_t(middle), best, groups) >= rank)
            low = middle;
        else
            high = middle - 1;
    }
    return int16_t(low);
}

}  // namespace

bool scan_best(const isa::Kernels& kernels, ByteTables tables, double spread, const ScanBlock& block,
               ScanQuery& query) {
    const size_t wanted = query.sink->wanted(), n = (block.n + 63) / 64 * 64;
    size_t groups = 64;
    while (groups < kGroups * wanted) groups *= 2;
    if (wanted == 0 || block.n < 2 * groups || n > kMost) return false;

    int16_t scores[kMost];
    kernels.byte_scores(block, query, tables, scores);
    const double threshold = std::floor(high_score(scores, n, groups, wanted) - spread - 1);
    // Start values go down to −2^14: where a score has met with that it is too high.
    const double highest = double(block.levels) * largest_entry(block.levels);
    if (!(threshold >= highest - (1 << 14))) return false;
    uint64_t above[kMost / 64];
    kernels.scores_above(n, scores, int16_t(threshold), above);
    for (size_t first = 0; first < n; first += 64 * kMostMasks)
        rescore(query, block, first, above + first / 64, std::min(kMostMasks, (n - first) / 64));
    return true;
}

}  // namespace drq
