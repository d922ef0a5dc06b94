// Exact asymmetric-distance search (ADC) over the first L levels of the codes.
#pragma once

#include <cstdint>
#include <vector>

#include "core/database.h"
#include "core/executor.h"

namespace drq {

/// The k nearest vectors of each of n queries x (n, d): distances and ids (n, k), nearest first, ties by id.
///
/// L2 gives squared distances, inner product the largest products first. Rows with fewer than k results end
/// in id −1 with the worst float. Distances are the float ADC distances and are the same bits on every SIMD
/// level.
void knn_search(const Database& database, size_t n, const float* x, size_t k, float* distances, int64_t* ids,
                const Executor& executor);

/// Every vector with squared distance < radius (L2) or product > radius (inner product), by query, ids
/// ascending.
std::vector<std::vector<Neighbour>> range_search(const Database& database, size_t n, const float* x,
                                                 float radius, const Executor& executor);

}  // namespace drq
