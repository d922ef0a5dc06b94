#include "core/scan.h"

#include <algorithm>
#include <cmath>

namespace drq {

namespace {

template <class Code>
float adc_sum(const ScanQuery& query, const ScanBlock& block, const Code* codes, size_t i) {
    float sum = 0;
    for (size_t m = 0; m < block.levels; m++)
        sum += query.lut[query.lut_offsets[m] + codes[block.code_offset(i, m)]];
    return sum;
}

template <class Code>
float exact_key(const ScanQuery& query, const ScanBlock& block, const Code* codes, size_t i) {
    return query.key(adc_sum(query, block, codes, i), block.norms ? block.norms[i] : 0);
}

template <class Code>
void scan_all(ScanQuery& query, const ScanBlock& block, const Code* codes) {
    for (size_t i = 0; i < block.n; i++) {
        const float key = exact_key(query, block, codes, i);
        if (key <= query.sink->bound()) query.sink->offer(key, block.id(i));
    }
}

}  // namespace

void ScanQuery::refresh_threshold() {
    // A score must reach the threshold's real value; kernels test "score > threshold", hence the − 1.
    const double needed = std::floor((offset + slope * double(sink->bound())) / unit) - 1;
    threshold = int32_t(std::min(std::max(needed, double(lowest_threshold)), double(highest_threshold)));
}

void rescore(ScanQuery& query, const ScanBlock& block, size_t first, uint64_t mask) {
    const float bound = query.sink->bound();
    for (; mask; mask &= mask - 1) {
        const size_t i = first + size_t(__builtin_ctzll(mask));
        if (i >= block.n) break;
        const float key = exact_key(query, block, block.bytes, i);
        if (key <= query.sink->bound()) query.sink->offer(key, block.id(i));
    }
    if (query.sink->bound() != bound) query.refresh_threshold();
}

void scan_exact(ScanQuery& query, const ScanBlock& block) {
    if (block.words)
        scan_all(query, block, block.words);
    else
        scan_all(query, block, block.bytes);
}

}  // namespace drq
