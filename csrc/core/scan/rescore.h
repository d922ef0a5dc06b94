// Exact distances of the vectors that a scan of bounds leaves over.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/scan/block.h"

namespace drq {

constexpr size_t kMostMasks = 16;  // of 64 vectors each, for which candidates are collected at a time

/// Offers vectors first + (set bits of `words` ≤ kMostMasks masks) to the query's sink by their exact
/// distances.
void rescore(ScanQuery& query, const ScanBlock& block, size_t first, const uint64_t* masks, size_t words);

/// Offers every vector of the block: the reference for all kernels, and the path for levels wider than a
/// byte.
void scan_exact(ScanQuery& query, const ScanBlock& block);

}  // namespace drq
