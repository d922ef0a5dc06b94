// Queries prepared for scanning inverted lists: one table each, moved from list to list.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/list_search.h"
#include "core/lut.h"
#include "core/score.h"

namespace drq {

class ListQueries {
  public:
    /// Room for n queries. The database must outlive this.
    ListQueries(const ListDatabase& database, size_t n);

    const Scorer& scorer() const { return scorer_; }

    /// Builds the tables of queries [first, first + n) from their vectors x (n, d); results go to their
    /// sinks.
    void prepare(size_t first, size_t n, const float* x, Sink* const* sinks);

    /// Whether query i can have neighbours: it is finite.
    bool is_finite(size_t i) const { return finite_[i]; }

    /// From now on query i scans `list`, whose centroid has this distance to it.
    void enter(size_t i, const InvertedList& list, float centroid_distance);

    ScanQuery& operator[](size_t i) { return queries_[i]; }

    /// The exact key, as scans offer it, of one code in the list that query i has entered.
    float key(size_t i, const uint8_t* code, float norm) const;

  private:
    void prepare_query(size_t i, const float* x, const float* centred);

    const ListDatabase& database_;
    const LutLayout layout_;
    const Scorer scorer_;
    const std::unique_ptr<float[]> luts_;
    const std::unique_ptr<uint8_t[]> tables_;
    std::vector<float> centred_;
    std::vector<ScanQuery> queries_;
    float shift_square_ = 0;
    std::vector<float> constants_;  ///< per query, what does not depend on the list
    std::vector<double> offsets_;   ///< per query, of the score for a list whose numbers are all zero
    std::vector<char> finite_;
};

}  // namespace drq
