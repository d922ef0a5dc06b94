// Queries with what their exact distances to codes in lists need.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/luts.h"
#include "core/scan/differences.h"
#include "core/scan/query.h"
#include "core/search/lists/database.h"

namespace drq {

/// The exact half of n scan queries, which have one table each, whatever the list.
class ExactListQueries {
  public:
    /// Room for n queries. The database must outlive this.
    ExactListQueries(const ListDatabase& database, size_t n);

    /// Bytes of memory for each query.
    static size_t bytes(const ListDatabase& database);

    /// Builds the tables of queries [first, first + n) from their vectors x[i] (d).
    void prepare(size_t first, size_t n, const float* const* x);

    /// Whether query i can have neighbours: it is finite.
    bool is_finite(size_t i) const { return finite_[i]; }

    /// From now on query i is compared with codes in `list`, with whose centroid it has this product, see
    /// Probes. False if the list's distances are no finite numbers.
    bool enter(size_t i, const InvertedList& list, float centroid_product);

    ScanQuery& operator[](size_t i) { return queries_[i]; }
    const LutLayout& layout() const { return layout_; }

    /// ‖q'‖ of query i; L2 only.
    double length(size_t i) const { return lengths_[i]; }

    /// The key, as scans offer it, of a code (levels) in the list that query i has entered.
    float key(size_t i, const int32_t* code, float norm) const;

  private:
    void prepare_query(size_t i, const float* centred);
    float* point(size_t i) { return points_.get() + i * database_.quantizer.d; }

    const ListDatabase& database_;
    const LutLayout layout_;
    const Differences differences_;
    const std::unique_ptr<float[]> points_;  ///< (n, d) the queries, in their units
    const std::unique_ptr<float[]> luts_;
    std::vector<float> centred_;
    std::vector<ScanQuery> queries_;
    std::vector<double> constants_;  ///< per query, ‖q'‖² or ⟨q, shift⟩
    std::vector<double> lengths_;
    std::vector<char> finite_;
};

}  // namespace drq
