#include "core/encode/beam_encoder.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>

#include "core/isa/kernels.h"

namespace drq {

namespace {

using isa::Candidate;

constexpr size_t kBlock = 48;               // vectors multiplied at once: a multiple of every level's tile
constexpr size_t kProductFloats = 1 << 18;  // products of a block: stay within L2
constexpr size_t kGramFloats = 1 << 26;     // all inner products between codewords: 256 MiB at most
constexpr size_t kLargeBeam = 32;           // from here nth_element beats taking out maxima one by one

/// Inner products of one base's codewords (rows) with another's, each row computed when first asked for, so
/// that encoding a single vector does not pay for all of them.
class Gram {
  public:
    Gram(const Quantizer::Base& from, const Quantizer::Base& to, size_t d)
        : from_(from), to_(to), d_(d), values_(unset_lines<float>(from.K * to.stride)), ready_(from.K) {}

    const float* row(size_t k) {
        float* values = values_.get() + k * to_.stride;
        if (!ready_[k].load(std::memory_order_acquire)) compute(k, values);
        return values;
    }

  private:
    void compute(size_t k, float* values) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (ready_[k].load(std::memory_order_relaxed)) return;
        const float* codeword = from_.rows.data() + k * d_;
        isa::active().products(1, d_, codeword, d_, to_.stride, to_.columns.data(), values, to_.stride);
        ready_[k].store(true, std::memory_order_release);
    }

    const Quantizer::Base &from_, &to_;
    size_t d_;
    UnsetLines<float> values_;
    std::vector<std::atomic<bool>> ready_;
    std::mutex mutex_;
};

}  // namespace

/// What all threads share: half norms per level, Gram matrices per pair of bases.
class BeamEncoder::Tables {
  public:
    Tables(const Quantizer& quantizer, const std::vector<float>& gain_weights)
        : quantizer(quantizer), grams_(quantizer.bases.size()) {
        for (size_t m = 0; m < quantizer.levels(); m++)
            weights_.push_back(2 * quantizer.scale[m] * (gain_weights.empty() ? 1 : gain_weights[m]));
        for (size_t m = 0; m < quantizer.levels(); m++) half_norms_.push_back(level_half_norms(m));
        size_t floats = 0;
        for (const auto& [from, to] : pairs()) floats += quantizer.bases[from].K * quantizer.bases[to].stride;
        has_grams = floats <= kGramFloats;
        if (!has_grams) return;
        for (auto& row : grams_) row.resize(quantizer.bases.size());
        for (const auto& [from, to] : pairs())
            grams_[from][to] =
                std::make_unique<Gram>(quantizer.bases[from], quantizer.bases[to], quantizer.d);
    }

    /// <codeword k of level `from`'s base, every codeword of level `to`'s base>.
    const float* gram_row(size_t from, size_t to, size_t k) const {
        return grams_[size_t(quantizer.group[from])][size_t(quantizer.group[to])]->row(k);
    }

    isa::BeamLevel level(size_t m) const {
        return {half_norms_[m].size(), half_norms_[m].data(), weights_[m]};
    }

    const Quantizer& quantizer;
    bool has_grams;  ///< false: they would take too much memory, tables come from residuals

  private:
    Lines<float> level_half_norms(size_t m) const {
        const Quantizer::Base& base = quantizer.base(m);
        Lines<float> result(base.stride, std::numeric_limits<float>::infinity());
        for (size_t k = 0; k < base.K; k++) {
            double norm = 0;
            for (size_t j = 0; j < quantizer.d; j++)
                norm += double(base.rows[k * quantizer.d + j]) * base.rows[k * quantizer.d + j];
            result[k] = float(0.5 * quantizer.scale[m] * norm);
        }
        return result;
    }

    /// Pairs of bases (from, to) where a level of `to` follows one of `from`.
    std::vector<std::pair<size_t, size_t>> pairs() const {
        std::vector<std::pair<size_t, size_t>> result;
        for (size_t m = 0; m < quantizer.levels(); m++)
            for (size_t i = 0; i < m; i++) result.emplace_back(quantizer.group[i], quantizer.group[m]);
        std::sort(result.begin(), result.end());
        result.erase(std::unique(result.begin(), result.end()), result.end());
        return result;
    }

    std::vector<Lines<float>> half_norms_;  ///< (M, stride), as in BeamLevel
    std::vector<float> weights_;            ///< (M), as in BeamLevel
    std::vector<std::vector<std::unique_ptr<Gram>>> grams_;
};

/// The products <x, C[k]> of a block of vectors, for every base.
class BeamEncoder::Products {
  public:
    explicit Products(const Quantizer& quantizer) : quantizer_(quantizer) {
        size_t floats = 0;
        for (const Quantizer::Base& base : quantizer.bases) floats += base.stride;
        block = std::clamp<size_t>(kProductFloats / floats, 1, kBlock);
        for (const Quantizer::Base& base : quantizer.bases) values_.emplace_back(block * base.stride);
    }

    /// Of n ≤ block centred vectors x (n, d), which have to stay while rows of theirs are used.
    void compute(size_t n, const float* x) {
        x_ = x;
        for (size_t g = 0; g < values_.size(); g++) {
            const Quantizer::Base& base = quantizer_.bases[g];
            isa::active().products(n, quantizer_.d, x, quantizer_.d, base.stride, base.columns.data(),
                                   values_[g].data(), base.stride);
        }
    }

    const float* vector(size_t i) const { return x_ + i * quantizer_.d; }
    const float* row(size_t i, size_t m) const {
        return values_[size_t(quantizer_.group[m])].data() + i * quantizer_.base(m).stride;
    }

    size_t block;  ///< vectors at once

  private:
    const Quantizer& quantizer_;
    const float* x_ = nullptr;
    std::vector<Lines<float>> values_;
};

/// Beam search for one vector at a time. A kept partial code is a row of `kept_[m]`; its table holds
/// <residual, C[k]> for the base of level m.
class BeamEncoder::BeamSearch {
  public:
    BeamSearch(const Tables& tables, size_t beam)
        : tables_(tables),
          q_(tables.quantizer),
          beam_(beam),
          kept_(q_.levels()),
          rows_(q_.levels()),
          weights_(q_.levels()) {}

    void encode(const Products& products, size_t i, int32_t* codes) {
        const size_t M = q_.levels();
        for (size_t m = 0; m < M; m++) {
            update_tables(products, i, m);
            keep_best(m, m + 1 == M ? 1 : beam_);
        }
        trace(M, 0, codes);
    }

  private:
    size_t stride(size_t m) const { return q_.base(m).stride; }

    /// The partial codes of m levels: how many are kept, and the gain of one.
    size_t n_kept(size_t m) const { return m ? kept_[m - 1].size() : 1; }
    float gain(size_t m, size_t entry) const { return m ? kept_[m - 1][entry].gain : 0; }

    /// The codes of kept partial code `entry` of length `length`.
    void trace(size_t length, size_t entry, int32_t* codes) const {
        for (size_t m = length; m-- > 0; entry = size_t(kept_[m][entry].parent))
            codes[m] = kept_[m][entry].codeword;
    }

    /// Tables and maxima of level m for every partial code, to tables_now_, maxima_ and largest_.
    void update_tables(const Products& products, size_t i, size_t m) {
        const size_t n = n_kept(m);
        std::swap(tables_before_, tables_now_);
        if (tables_now_.size() < n * stride(m)) tables_now_.resize(n * stride(m));
        maxima_.resize(n * Quantizer::kLanes);
        largest_.resize(n);
        if (m && !tables_.has_grams) residual_tables(products, i, m, n);
        for (size_t entry = 0; entry < n; entry++) update_table(products, i, m, entry);
    }

    void update_table(const Products& products, size_t i, size_t m, size_t entry) {
        float* out = tables_now_.data() + entry * stride(m);
        const float* table = products.row(i, m);
        size_t n_rows = 0;
        if (m && !tables_.has_grams) {
            table = out;
        } else if (m && q_.group[m] == q_.group[m - 1]) {
            const Candidate& last = kept_[m - 1][entry];
            table = tables_before_.data() + size_t(last.parent) * stride(m);
            add_row(n_rows, m - 1, m, last.codeword);
        } else if (m) {
            size_t at = entry;
            for (size_t level = m; level-- > 0; at = size_t(kept_[level][at].parent))
                add_row(n_rows, level, m, kept_[level][at].codeword);
        }
        largest_[entry] =
            isa::active().update_table(tables_.level(m), gain(m, entry), table, n_rows, rows_.data(),
                                       weights_.data(), out, maxima_.data() + entry * Quantizer::kLanes);
    }

    void add_row(size_t& n_rows, size_t from, size_t to, int32_t codeword) {
        rows_[n_rows] = tables_.gram_row(from, to, size_t(codeword));
        weights_[n_rows++] = q_.scale[from];
    }

    /// Tables straight from the residuals of the n partial codes: slower, without Gram matrices.
    void residual_tables(const Products& products, size_t i, size_t m, size_t n) {
        const size_t d = q_.d;
        residuals_.resize(n * d);
        std::vector<int32_t> codes(m);
        for (size_t entry = 0; entry < n; entry++) {
            float* residual = residuals_.data() + entry * d;
            std::copy_n(products.vector(i), d, residual);
            trace(m, entry, codes.data());
            for (size_t level = 0; level < m; level++) {
                const float* codeword = q_.base(level).rows.data() + size_t(codes[level]) * d;
                for (size_t j = 0; j < d; j++) residual[j] -= q_.scale[level] * codeword[j];
            }
        }
        isa::active().products(n, d, residuals_.data(), d, stride(m), q_.base(m).columns.data(),
                               tables_now_.data(), stride(m));
    }

    /// Keeps the `limit` best extensions by level m, best first, ties by parent, then codeword.
    void keep_best(size_t m, size_t limit) {
        const float threshold = lowest_kept(limit);
        const size_t room = largest_.size() * stride(m);
        if (candidates_.size() < room) candidates_.resize(room);
        size_t found = 0;
        for (size_t entry = 0; entry < largest_.size(); entry++)
            if (largest_[entry] >= threshold)
                found += isa::active().collect(tables_.level(m), gain(m, entry),
                                               tables_now_.data() + entry * stride(m), threshold,
                                               int32_t(entry), candidates_.data() + found);
        if (!found) candidates_[found++] = {gain(m, 0), 0, 0};  // not a number: any code is as good
        keep(m, found, std::min(limit, found));
    }

    void keep(size_t m, size_t found, size_t count) {
        const auto better = [](const Candidate& a, const Candidate& b) {
            if (a.gain != b.gain) return a.gain > b.gain;
            return a.parent != b.parent ? a.parent < b.parent : a.codeword < b.codeword;
        };
        const auto begin = candidates_.begin(), end = begin + ptrdiff_t(count);
        if (found > 2 * count) std::nth_element(begin, end - 1, begin + ptrdiff_t(found), better);
        std::sort(begin, found > 2 * count ? end : begin + ptrdiff_t(found), better);
        kept_[m].assign(begin, end);
    }

    /// A gain that at least `limit` extensions reach, if there are so many. Every one of the maxima is the
    /// gain of another extension, so the limit-th largest maximum is such a bound.
    float lowest_kept(size_t limit) {
        constexpr float lowest = -std::numeric_limits<float>::max();  // above the padding's −∞
        if (maxima_.size() < limit) return lowest;
        if (limit <= kLargeBeam)
            return std::max(lowest, isa::active().rank_bound(maxima_.size(), maxima_.data(), limit));
        const auto rank = maxima_.begin() + ptrdiff_t(limit - 1);
        std::nth_element(maxima_.begin(), rank, maxima_.end(), std::greater<float>());
        return std::max(lowest, *rank);
    }

    const Tables& tables_;
    const Quantizer& q_;
    size_t beam_;
    std::vector<std::vector<Candidate>> kept_;  ///< (M) the partial codes of every length, best first
    std::vector<Candidate> candidates_;
    std::vector<const float*> rows_;
    std::vector<float> weights_;
    Lines<float> tables_now_, tables_before_, maxima_;
    std::vector<float> largest_, residuals_;
};

BeamEncoder::BeamEncoder(Quantizer quantizer, const std::vector<float>& gain_weights)
    : quantizer_(std::make_unique<const Quantizer>(std::move(quantizer))),
      tables_(std::make_unique<const Tables>(*quantizer_, gain_weights)) {}

BeamEncoder::BeamEncoder(BeamEncoder&&) noexcept = default;
BeamEncoder::~BeamEncoder() = default;

void BeamEncoder::encode(size_t n, const float* x, size_t beam, int32_t* codes,
                         Checkpoint& checkpoint) const {
    const Quantizer& q = *quantizer_;
    Products products(q);
    BeamSearch search(*tables_, beam);
    for (size_t begin = 0; begin < n; begin += products.block) {
        const size_t count = std::min(products.block, n - begin);
        products.compute(count, x + begin * q.d);
        for (size_t i = 0; i < count; i++) search.encode(products, i, codes + (begin + i) * q.levels());
        checkpoint.look();
    }
}

}  // namespace drq
