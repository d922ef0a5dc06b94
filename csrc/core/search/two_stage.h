// Scan few levels, rank by more: one code is its own re-ranker.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/database.h"
#include "core/executor.h"

namespace drq {

/// How the vectors that a scan finds are ranked.
struct Refinement {
    size_t levels;  ///< of the codes, at least those that are scanned
    size_t factor;  ///< times as many vectors as results are ranked; 0: none, the scan decides
};

/// Of the k · factor nearest of each of n queries x (n, d) by the levels of the database, the k nearest by
/// those of the refinement: with their distances, to distances and ids (n, k), as knn_search writes them.
/// The same bits as knn_search gives for such a distance.
void two_stage_search(const Database& database, const Refinement& refinement, size_t n, const float* x,
                      size_t k, float* distances, int64_t* ids, const Executor& executor);

}  // namespace drq
