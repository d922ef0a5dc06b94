// Queries prepared for scanning inverted lists: one table each, moved from list to list.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/scan/bounds.h"
#include "core/search/lists/exact_queries.h"

namespace drq {

class ListQueries {
  public:
    /// Room for n queries. The database must outlive this.
    ListQueries(const ListDatabase& database, size_t n);

    /// Bytes of memory for each query, at most.
    static size_t bytes(const ListDatabase& database);

    const Scorer& scorer() const { return scorer_; }

    /// Builds the tables of queries [first, first + n) from their vectors x[i] (d); results go to their
    /// sinks.
    void prepare(size_t first, size_t n, const float* const* x, Sink* const* sinks);

    // As those of ExactListQueries.
    bool is_finite(size_t i) const { return exact_.is_finite(i); }
    bool enter(size_t i, const InvertedList& list, float centroid_product);
    ScanQuery& operator[](size_t i) { return exact_[i]; }
    float key(size_t i, const int32_t* code, float norm) const { return exact_.key(i, code, norm); }

  private:
    void enter_l2(size_t i, const InvertedList& list);

    const ListDatabase& database_;
    ExactListQueries exact_;
    const Scorer scorer_;
    const std::unique_ptr<uint8_t[]> tables_;
    double shift_length_ = 0;
    std::vector<double> offsets_;  ///< per query, of the score for a list whose numbers are all zero
};

}  // namespace drq
