// Queries with what their exact distances need: tables, and the constants of keys.
#pragma once

#include <cstddef>
#include <vector>

#include "core/database.h"
#include "core/luts.h"
#include "core/scan/differences.h"
#include "core/scan/query.h"

namespace drq {

/// The exact half of n scan queries. They point into this, which is not moved.
class ExactQueries {
  public:
    /// Of queries x (n, d), for the database's levels. The database must outlive this.
    ExactQueries(const Database& database, size_t n, const float* x);
    ExactQueries(const ExactQueries&) = delete;
    ExactQueries& operator=(const ExactQueries&) = delete;

    const LutLayout& layout() const { return layout_; }
    const ScanQuery& operator[](size_t i) const { return queries_[i]; }

    /// False for a query with NaN or overflowing distances: it has no neighbours, as in FAISS.
    bool is_finite(size_t i) const { return finite_[i]; }

    /// The length of a query less the quantizer's shift; L2 only.
    double length(size_t i) const { return lengths_[i]; }

  private:
    float centre(float* x) const;
    void add_query(size_t i, float unit);

    const Database& database_;
    const LutLayout layout_;
    const Differences differences_;
    std::vector<float> centred_;  ///< (n, d)
    std::vector<float> luts_;
    std::vector<ScanQuery> queries_;
    std::vector<double> lengths_;
    std::vector<char> finite_;
};

}  // namespace drq
