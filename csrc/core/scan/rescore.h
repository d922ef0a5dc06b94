// Exact distances of the vectors that a scan of bounds leaves over.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/scan/query.h"

namespace drq {

constexpr size_t kMostMasks = 16;  // of 64 vectors each, for which candidates are collected at a time

/// Offers vectors first + (set bits of `words` ≤ kMostMasks masks) to the sink of a ScanQuery by their exact
/// distances; see isa::Rescore.
void rescore(ScoreQuery& query, const ScanBlock& block, size_t first, const uint64_t* masks, size_t words);

/// Offers every vector of the block: the reference for all kernels, and the path for levels wider than a
/// byte.
void scan_exact(ScanQuery& query, const ScanBlock& block);

}  // namespace drq
