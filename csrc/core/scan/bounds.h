// Integer scores that bound a vector's distance: tables in bytes, with the error they make.
//
// A kernel sums table entries (times weights) and the vector's start value. That score s is never below the
// real one: Σ F_m[b_m] ≤ base + unit · s_tables + error, and the start value rounds the norm's share up. So
// "score > threshold" may keep a vector too many but never drops one that belongs to the result.
//
// All of that is about expanded keys. Where keys are summed up from differences instead (ScanQuery::cancels),
// ScanQuery::refresh adds to the bound how far the two may be apart, ScanQuery::stray.
#pragma once

#include <cstdint>
#include <vector>

#include "core/isa/kernels.h"
#include "core/luts.h"
#include "core/scan/query.h"
#include "core/scan/score_kind.h"

namespace drq {

struct Renumbered;

/// How one search turns float tables into integer scores.
class Scorer {
  public:
    /// `share`: about how much of the vectors will be results.
    /// `renumbered`: how blocks are numbered; null: as in the quantizer.
    Scorer(const isa::Kernels& kernels, const Quantizer& quantizer, size_t levels, const LutLayout& layout,
           float lowest_norm, double share, const Renumbered* renumbered = nullptr);

    ScoreKind kind() const { return kind_; }

    /// The share of the numbers involved by which float arithmetic, in tables and exact keys, may stray.
    double rounding() const { return double(levels_ + 8) / (1 << 22); }

    /// Where the distances of a query are computed from: with ⟨q', S⟩ from tables and ‖S‖² + 2⟨S, a⟩ as
    /// cached norms, for a point t = q' − a. All are lengths.
    struct Lengths {
        double query;      ///< ‖q'‖
        double apart;      ///< ‖a‖; 0 where norms are ‖S‖²
        double point;      ///< ‖t‖
        double shift = 0;  ///< of the shift, if the point is computed with one
    };

    /// Sets how far sums of differences may be from expanded keys.
    void set_stray(ScanQuery& query, const Lengths& lengths) const;

    /// Bytes of integer tables per query.
    size_t table_bytes() const;

    /// Sets the query's integer tables, written to `tables`, from its float ones. Its unit is rounded up to
    /// one of a few values, so that queries alike share start values.
    void quantize(ScanQuery& query, uint8_t* tables) const;

    /// Offers what can enter the result to each of `count` queries with one unit.
    void scan(const ScanBlock& block, ScanQuery* const* queries, size_t count) const;

  private:
    void choose_weights();
    void quantize_bytes(ScanQuery& query, uint8_t* tables) const;
    size_t groups_of(size_t m) const;  ///< of a level's codewords: those that share an entry
    void group_maxima(size_t m, const float* table, float* entries) const;
    void quantize_shared(ScanQuery& query, uint8_t* tables) const;
    void set_bound(ScanQuery& query, double base, double error, double largest_sum) const;
    void scan_shared(const ScanBlock& block, ScanQuery* const* queries, size_t count) const;
    void scan_bytes(const ScanBlock& block, ScanQuery* const* queries, size_t count) const;
    bool scan_unbounded(const ScanBlock& block, ScanQuery& query) const;
    void scan_together(const ScanBlock& block, ScanQuery* const* queries, size_t count) const;

    const isa::Kernels& kernels_;
    const Quantizer& quantizer_;
    const size_t levels_;
    const LutLayout& layout_;
    const float lowest_norm_;
    const Renumbered* const renumbered_;
    double reconstruction_ = 0;  ///< no sum of the first levels is longer
    double product_errors_ = 0,
           square_errors_ = 0;  ///< in roundings of a product, of a square: see set_stray
    ScoreKind kind_;
    int shared_bits_;               ///< Bytes: of codes, that bytes do not tell apart
    ByteTables byte_tables_;        ///< Bytes
    std::vector<uint8_t> weights_;  ///< Shared: (levels padded to 4)
    double weight_unit_ = 1;        ///< Shared: scale_m ≈ weights_[m] · weight_unit_
    double scale_sum_ = 0, scale_error_ = 0;
};

}  // namespace drq
