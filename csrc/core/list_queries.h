// Queries prepared for scanning inverted lists: one table each, moved from list to list.
#pragma once

#include <cstdint>
#include <vector>

#include "core/list_search.h"
#include "core/lut.h"
#include "core/score.h"

namespace drq {

class ListQueries {
  public:
    /// n queries x (n, d). The database must outlive this.
    ListQueries(const ListDatabase& database, size_t n, const float* x);

    const Scorer& scorer() const { return scorer_; }

    /// Sets where query i's results go; false if it has no neighbours, because it is not finite.
    bool start(size_t i, Sink* sink);

    /// From now on query i scans `list`, whose centroid has this distance to it.
    void enter(size_t i, const InvertedList& list, float centroid_distance);

    ScanQuery& operator[](size_t i) { return queries_[i]; }

    /// The exact key, as scans offer it, of one code in the list that query i has entered.
    float key(size_t i, const uint8_t* code, float norm) const;

  private:
    void add_query(size_t i, const float* x, const float* centred);

    const ListDatabase& database_;
    const LutLayout layout_;
    const Scorer scorer_;
    std::vector<float> luts_;
    std::vector<uint8_t> tables_;
    std::vector<ScanQuery> queries_;
    std::vector<float> constants_;  ///< per query, what does not depend on the list
    std::vector<double> offsets_;   ///< per query, of the score for a list whose numbers are all zero
    std::vector<bool> finite_;
};

}  // namespace drq
