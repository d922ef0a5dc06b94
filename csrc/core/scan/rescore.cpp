#include "core/scan/rescore.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace drq {

namespace {

/// Offers a vector within reach if it is good enough. A call, as the loop that sums up table entries has no
/// registers to spare for what this needs.
template <class CodeOf>
[[gnu::noinline]] void offer_near(ScanQuery& query, const ScanBlock& block, uint32_t vector, float sum,
                                  float norm, CodeOf code_of) {
    const float key = query.key(sum, norm, code_of), bound = query.sink->bound();
    if (!(key <= bound) || !std::isfinite(key)) return;
    query.sink->offer(key, block.id(vector));
    if (query.sink->bound() != bound) query.refresh();
}

/// Offers a vector if it is good enough. Most are not, and their expanded keys tell; so does that of one
/// whose key will be a sum of differences, but for `stray`, which is part of the reach.
template <class CodeOf>
inline void offer_sum(ScanQuery& query, const ScanBlock& block, uint32_t vector, float sum, CodeOf code_of) {
    const float norm = block.norms ? block.norms[vector] : 0;
    if (query.expanded_key(sum, norm) <= query.reach) offer_near(query, block, vector, sum, norm, code_of);
}

/// Offers those of n vectors that are good enough. `codes` lie in planes of kGroup levels. Several vectors
/// side by side, as each one's sum has to wait for every addition.
template <size_t n, size_t kGroup, class Code>
inline void offer(ScanQuery& query, const ScanBlock& block, const Code* codes, const uint32_t* vectors) {
    float sums[n] = {};
    const Code* rows[n];
    for (size_t j = 0; j < n; j++) rows[j] = codes + kGroup * vectors[j];
    for (size_t m = 0, plane = 0; m < block.levels; m++) {
        const float* table = query.lut + query.lut_offsets[m];
        const float scale = query.lut_scales[m];
        for (size_t j = 0; j < n; j++) sums[j] += scale * table[rows[j][plane + m % kGroup]];
        if (m % kGroup == kGroup - 1) plane += kGroup * block.stride;
    }
    for (size_t j = 0; j < n; j++)
        offer_sum(query, block, vectors[j], sums[j], [row = rows[j], stride = block.stride](size_t m) {
            return row[m / kGroup * kGroup * stride + m % kGroup];
        });
}

template <size_t kGroup, class Code>
void offer_all(ScanQuery& query, const ScanBlock& block, const Code* codes, const uint32_t* vectors,
               size_t n) {
    constexpr size_t kAtOnce = 4;
    for (; n >= kAtOnce; n -= kAtOnce, vectors += kAtOnce)
        offer<kAtOnce, kGroup>(query, block, codes, vectors);
    for (; n > 0; n--, vectors++) offer<1, kGroup>(query, block, codes, vectors);
}

/// The same with codes from the rows that the block was packed from.
void offer_wide(ScanQuery& query, const ScanBlock& block, const uint32_t* vectors, size_t n) {
    for (size_t i = 0; i < n; i++) __builtin_prefetch(block.wide_rows->row(block.wide_row(vectors[i])));
    for (size_t i = 0; i < n; i++) {
        const size_t row = block.wide_row(vectors[i]);
        const auto code_of = [&](size_t m) {
            return block.wide_rows->number(row, m * size_t(block.wide_bits), block.wide_bits);
        };
        offer_sum(query, block, vectors[i], query.sum(block.levels, code_of), code_of);
    }
}

/// Writes the numbers of the set bits to `out`, with room for one more, and returns how many.
size_t list_bits(const uint64_t* masks, size_t words, uint32_t first, uint32_t* out) {
    constexpr int kUsual = 2;  // at most, in most words: written without a branch that would be mispredicted
    constexpr uint64_t kHighest = uint64_t{1} << 63;
    size_t found = 0;
    for (size_t w = 0; w < words; w++, first += 64) {
        uint64_t mask = masks[w];
        for (int i = 0; i < kUsual; i++, mask &= mask - 1) {
            out[found] = first + uint32_t(__builtin_ctzll(mask | kHighest));
            found += mask != 0;
        }
        for (; mask; mask &= mask - 1) out[found++] = first + uint32_t(__builtin_ctzll(mask));
    }
    return found;
}

}  // namespace

void rescore(ScoreQuery& scored, const ScanBlock& block, size_t first, const uint64_t* masks, size_t words) {
    ScanQuery& query = static_cast<ScanQuery&>(scored);
    uint32_t candidates[64 * kMostMasks + 1];
    size_t n = list_bits(masks, words, uint32_t(first), candidates);
    while (n > 0 && candidates[n - 1] >= block.n) n--;  // beyond the block's end
    if (block.ids)                                      // far away, and wanted only after the distances
        for (size_t i = 0; i < n; i++) __builtin_prefetch(block.ids + candidates[i]);
    if (block.wide_rows)
        offer_wide(query, block, candidates, n);
    else if (block.group == 1)
        offer_all<1>(query, block, block.bytes, candidates, n);
    else
        offer_all<4>(query, block, block.bytes, candidates, n);
}

void scan_exact(ScanQuery& query, const ScanBlock& block) {
    query.refresh();
    constexpr size_t kStep = 64;
    uint32_t vectors[kStep];
    for (size_t first = 0; first < block.n; first += kStep) {
        const size_t n = std::min(kStep, block.n - first);
        std::iota(vectors, vectors + n, uint32_t(first));
        if (block.wide_rows)
            offer_wide(query, block, vectors, n);
        else if (block.words)
            offer_all<1>(query, block, block.words, vectors, n);
        else
            offer_all<1>(query, block, block.bytes, vectors, n);
    }
}

}  // namespace drq
