// Queries prepared for scanning inverted lists: one table each, moved from list to list.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/luts.h"
#include "core/scan/bounds.h"
#include "core/search/lists/database.h"

namespace drq {

class ListQueries {
  public:
    /// Room for n queries. The database must outlive this.
    ListQueries(const ListDatabase& database, size_t n);

    const Scorer& scorer() const { return scorer_; }

    /// Builds the tables of queries [first, first + n) from their vectors x[i] (d); results go to their
    /// sinks.
    void prepare(size_t first, size_t n, const float* const* x, Sink* const* sinks);

    /// Whether query i can have neighbours: it is finite.
    bool is_finite(size_t i) const { return finite_[i]; }

    /// From now on query i scans `list`, with whose centroid it has this product, see Probes. False if the
    /// list's distances are no finite numbers.
    bool enter(size_t i, const InvertedList& list, float centroid_product);

    ScanQuery& operator[](size_t i) { return queries_[i]; }

    /// The exact key, as scans offer it, of one code in the list that query i has entered.
    float key(size_t i, const uint8_t* code, float norm) const;

  private:
    void prepare_query(size_t i, const float* centred);
    void enter_l2(size_t i, const InvertedList& list);
    float* point(size_t i) { return points_.get() + i * database_.quantizer.d; }

    const ListDatabase& database_;
    const LutLayout layout_;
    const Scorer scorer_;
    const Differences differences_;
    const std::unique_ptr<float[]> points_;  ///< (n, d) the queries, in their units
    const std::unique_ptr<float[]> luts_;
    const std::unique_ptr<uint8_t[]> tables_;
    std::vector<float> centred_;
    std::vector<ScanQuery> queries_;
    double shift_length_ = 0;
    std::vector<double> constants_;  ///< per query, ‖q'‖² or ⟨q, shift⟩
    std::vector<double> lengths_;    ///< per query, ‖q'‖; L2 only
    std::vector<double> offsets_;    ///< per query, of the score for a list whose numbers are all zero
    std::vector<char> finite_;
};

}  // namespace drq
