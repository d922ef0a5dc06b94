// The second stage of searches in lists: exact distances, by more levels, of what a scan has found.
#pragma once

#include <vector>

#include "core/executor.h"
#include "core/scan/collectors.h"
#include "core/search/lists/database.h"

namespace drq {

/// Where row 0 of a list is, see ListDatabase::by_position: rows have 32 bits, as in FAISS's pairs.
inline int64_t first_position(size_t list) { return int64_t(uint64_t(list) << 32); }

/// Keeps the k nearest as TopK does, ties by id, and where they are. Scans offer positions.
class Shortlist final : public Smallest<Located> {
  public:
    Shortlist(size_t k, const InvertedList* lists) : Smallest(k), lists_(lists) {}

    void offer(float key, int64_t position) override;

  private:
    const InvertedList* lists_;
};

/// Of what scans have found for each of some queries x (n, d), the k nearest by the levels of the database:
/// with their distances, to distances and ids (n, k), as knn_search_lists writes them.
void rank_located(const ListDatabase& database, const InvertedList* lists, const Probes& probes,
                  const float* x, std::vector<Shortlist>& shortlists, size_t k, float* distances,
                  int64_t* ids, Checkpoint& checkpoint);

}  // namespace drq
