// Exact ADC search in inverted lists.
#pragma once

#include <cstdint>
#include <vector>

#include "core/executor.h"
#include "core/search/lists/database.h"
#include "core/search/two_stage.h"

namespace drq {

/// The k nearest of the probed vectors for each of n queries x (n, d): distances and ids (n, k), as
/// knn_search returns them. Queries of a thread share the work on a list.
void knn_search_lists(const ListDatabase& database, const InvertedList* lists, size_t n_lists, size_t n,
                      const float* x, const Probes& probes, size_t k, float* distances, int64_t* ids,
                      ListStats& stats, const Executor& executor);

/// Of the k · factor nearest of the probed vectors by the levels of the database, the k nearest by those of
/// the refinement: with the distances that knn_search_lists gives for so many levels.
void two_stage_search_lists(const ListDatabase& database, const Refinement& refinement,
                            const InvertedList* lists, size_t n_lists, size_t n, const float* x,
                            const Probes& probes, size_t k, float* distances, int64_t* ids, ListStats& stats,
                            const Executor& executor);

/// Every probed vector with squared distance < radius or product > radius, by query, ids ascending.
std::vector<std::vector<Neighbour>> range_search_lists(const ListDatabase& database,
                                                       const InvertedList* lists, size_t n_lists, size_t n,
                                                       const float* x, float radius, const Probes& probes,
                                                       ListStats& stats, const Executor& executor);

}  // namespace drq
