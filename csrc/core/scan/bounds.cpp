#include "core/scan/bounds.h"

#include <algorithm>
#include <cmath>

#include "core/scan/codeword_groups.h"
#include "core/scan/first_candidates.h"
#include "core/scan/rescore.h"

namespace drq {

namespace {

constexpr size_t kTogether = 4;             // queries that a kernel scores at a time
constexpr size_t kChunk = 64 * kMostMasks;  // vectors scored before their candidates are looked at
constexpr size_t kFirstChunk = 64;  // the same while there is no bound and all are candidates; it doubles
// The largest share of vectors that are results for which bounds pay, and bounds for four codewords.
constexpr double kLargestBoundedShare = 1e-2, kLargestFourfoldShare = 5e-5;

/// The next of four values per octave.
double round_up_unit(double unit) { return std::exp2(std::ceil(4 * std::log2(unit)) / 4); }

/// The nearest integer to a number from 0 to 255, without a call of the library.
double to_nearest(double value) { return int32_t(value + 0.5); }

struct Range {
    float low, high;
};

Range range_of(const float* table, size_t n) {
    typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
    Four low = Four{} + table[0], high = low;
    const size_t whole = n / 4 * 4;
    for (size_t k = 0; k < whole; k += 4) {
        const Four values = *reinterpret_cast<const Four*>(table + k);
        low = values < low ? values : low;
        high = values > high ? values : high;
    }
    Range range{table[0], table[0]};
    for (int i = 0; i < 4; i++) range = {std::min(range.low, low[i]), std::max(range.high, high[i])};
    for (size_t k = whole; k < n; k++)
        range = {std::min(range.low, table[k]), std::max(range.high, table[k])};
    return range;
}

constexpr size_t kRow = 16;  // numbers without a bit that may be dropped

/// How many of n entries become one where bits of their numbers are dropped.
size_t rows_in_one(size_t n, int dropped) { return std::clamp<size_t>(n / kRow, 1, size_t{1} << dropped); }

/// Drops bits of the entries' numbers, see ByteTables: the largest of those that become one, to out.
void maxima(const float* __restrict table, size_t n, int dropped, float* __restrict out) {
    const size_t rows = rows_in_one(n, dropped);
    if (rows == 1) {
        std::copy_n(table, n, out);
        return;
    }
    for (size_t k = 0; k < n; k += kRow * rows, out += kRow) {
        std::copy_n(table + k, kRow, out);
        for (size_t row = 1; row < rows; row++)
            for (size_t i = 0; i < kRow; i++) out[i] = std::max(out[i], table[k + row * kRow + i]);
    }
}

/// The largest of the n codewords' entries that have one byte, to out (256).
void byte_maxima(const float* table, size_t n, const std::vector<uint8_t>& bytes, float* out) {
    std::fill_n(out, 256, -std::numeric_limits<float>::infinity());
    for (size_t k = 0; k < n; k++) out[bytes[k]] = std::max(out[bytes[k]], table[k]);
}

/// 256 values as −127 to 127.
void to_signed_bytes(const float* __restrict values, float middle, float per_step, uint8_t* __restrict out) {
    for (size_t k = 0; k < 256; k++) {
        const float scaled = (values[k] - middle) * per_step + 127.5f;
        const float limited = scaled < 254.5f ? scaled : 254.5f;
        out[k] = uint8_t(int32_t(limited > 0.f ? limited : 0.f) - 127);
    }
}

/// Tables of bounds are faster to look up and let more vectors through, the more the more results there are.
ByteTables choose_byte_tables(const isa::Kernels& kernels, const Quantizer& quantizer, size_t levels,
                              double share, bool renumbered) {
    const int widest = quantizer.max_nbits(levels), bits = std::clamp(widest, 4, 8);
    const bool may = kernels.bounds_pay && widest >= 8 && can_renumber(quantizer);
    if (!may || share > kLargestBoundedShare) return {bits, 0};
    const int shared = widest - 8;  // bits that bytes do not tell apart
    const bool fourfold = shared > 0 || (renumbered && share <= kLargestFourfoldShare);
    const int dropped = std::max(0, (fourfold ? 2 : 1) - shared);
    return {8 - dropped, dropped};
}

/// Whether products may come out infinite. Such vectors are no results, though their scores are the best.
bool may_overflow(const ScanQuery& query) {
    constexpr float kOrdinary = 1e30f;
    return !query.l2 && (query.key_unit != 1 || std::fabs(query.bias) > kOrdinary);
}

}  // namespace

Scorer::Scorer(const isa::Kernels& kernels, const Quantizer& quantizer, size_t levels,
               const LutLayout& layout, float lowest_norm, double share, const Renumbered* renumbered)
    : kernels_(kernels),
      quantizer_(quantizer),
      levels_(levels),
      layout_(layout),
      lowest_norm_(lowest_norm),
      renumbered_(renumbered),
      kind_(choose_score_kind(kernels_, quantizer, levels, renumbered)),
      shared_bits_(std::max(0, quantizer.max_nbits(levels) - 8)),
      byte_tables_(choose_byte_tables(kernels_, quantizer, levels, share, renumbered)) {
    for (size_t m = 0; m < levels; m++)
        reconstruction_ += double(quantizer.scale[m]) * quantizer.base(m).largest_norm;
    const double d = double(quantizer.d), M = double(levels);
    product_errors_ = quantizer.product_error() + M + 16;
    square_errors_ = 2 * M + d / 8 + 48 + quantizer.square_error();
    if (kind_ == ScoreKind::Shared) choose_weights();
}

/// With u = 2⁻²⁴, R ≥ Σ_m s_m ‖C[b_m]‖ and T = ‖t‖ + R, to first order in u (a table's entry errs by at most
/// e u ‖·‖ ‖·‖, e = d where it is summed up of d products; norm_of_sum has sixteen partial sums; of norms
/// that are summed up by blocks f u R² are lost, and less than e u R ‖a‖):
///
///     Σ of entries               (e + M + 2) R ‖q'‖ u, twice in the key
///     norms                      (2 M + d/16 + 20 + f) R² u, and for a: 2 (M + d/16 + 20 + e) R ‖a‖ u
///     rounding of q', a and t    2 R (‖q'‖ + 2 ‖a‖ + 2 ‖shift‖) u + 2 T (2 T + ‖shift‖) u
///     ‖t‖²                       (d/16 + 20) T² u
///     the key's two additions    4 (T² + R (‖q'‖ + ‖a‖)) u
///     the sum of differences     (2 M + d/16 + 26) T² u + 2 T ‖shift‖ u
///
/// All of them are at most 2 u ((e + M + 16) R (‖q'‖ + ‖a‖) + (2 M + d/8 + 48 + f) T² + 8 T ‖shift‖), of
/// which a quarter more is taken for the higher orders.
void Scorer::set_stray(ScanQuery& query, const Lengths& lengths) const {
    constexpr double kSafe = 1.25, kTwice = 2 * kSafe / (1 << 24);
    const double R = reconstruction_, products = R * (lengths.query + lengths.apart), T = lengths.point + R;
    query.stray = kTwice * (product_errors_ * products + (square_errors_ * T + 8 * lengths.shift) * T);
}

size_t Scorer::table_bytes() const {
    switch (kind_) {
        case ScoreKind::Shared:
            return 256;
        case ScoreKind::Bytes:
            return levels_ << byte_tables_.bits;
        default:
            return 0;
    }
}

void Scorer::choose_weights() {
    const double largest =
        *std::max_element(quantizer_.scale.begin(), quantizer_.scale.begin() + ptrdiff_t(levels_));
    std::vector<double> shares(levels_);
    for (size_t m = 0; m < levels_; m++) shares[m] = quantizer_.scale[m] / largest;
    double least_error = INFINITY;
    for (int full = 200; full <= 255; full++) {  // which byte stands for the largest scale
        double error = 0;
        for (const double share : shares) error += std::fabs(share * full - to_nearest(share * full));
        error *= largest / full;
        if (error >= least_error) continue;
        least_error = error;
        weight_unit_ = largest / full;
    }
    scale_error_ = least_error;
    weights_.assign((levels_ + 3) / 4 * 4, 0);
    for (size_t m = 0; m < levels_; m++) {
        weights_[m] = uint8_t(std::lround(quantizer_.scale[m] / weight_unit_));
        scale_sum_ += quantizer_.scale[m];
    }
}

void Scorer::quantize(ScanQuery& query, uint8_t* tables) const {
    query.tables = tables;
    if (kind_ == ScoreKind::Bytes) quantize_bytes(query, tables);
    if (kind_ == ScoreKind::Shared) quantize_shared(query, tables);
}

size_t Scorer::groups_of(size_t m) const {
    const size_t seen = quantizer_.base(m).K >> shared_bits_;
    return seen / rows_in_one(seen, byte_tables_.dropped);
}

void Scorer::group_maxima(size_t m, const float* table, float* entries) const {
    const size_t K = quantizer_.base(m).K;
    float bytes[256];
    if (shared_bits_) byte_maxima(table, K, renumbered_->new_bytes[size_t(quantizer_.group[m])], bytes);
    maxima(shared_bits_ ? bytes : table, K >> shared_bits_, byte_tables_.dropped, entries);
}

void Scorer::quantize_bytes(ScanQuery& query, uint8_t* tables) const {
    const size_t size = size_t{1} << byte_tables_.bits;
    double widest = 0, base = 0, largest_sum = 0;
    std::vector<float> entries(layout_.size), lowest(levels_);
    Range range{}, whole{};        // of the last base's entries and of its table
    size_t offset = layout_.size;  // of that table: none yet
    for (size_t m = 0; m < levels_; m++) {
        if (layout_.offsets[m] != offset) {
            offset = layout_.offsets[m];
            group_maxima(m, query.lut + offset, &entries[offset]);
            range = range_of(&entries[offset], groups_of(m));
            whole = range_of(query.lut + offset, quantizer_.base(m).K);
        }
        const double scale = layout_.scales[m];
        lowest[m] = range.low;
        largest_sum += scale * std::max(std::fabs(whole.low), std::fabs(whole.high));
        widest = std::max(widest, scale * (double(range.high) - range.low));
        base += scale * range.low;
    }
    query.unit = round_up_unit(std::max(widest / largest_entry(levels_), 1e-30));
    for (size_t m = 0; m < levels_; m++) {
        const size_t n = groups_of(m);
        kernels_.to_bytes(n, &entries[layout_.offsets[m]], lowest[m], float(layout_.scales[m] / query.unit),
                          tables + m * size);
        std::fill(tables + m * size + n, tables + (m + 1) * size, 0);
    }
    query.lowest_threshold = INT16_MIN;
    query.highest_threshold = INT16_MAX;
    set_bound(query, base, 0.5 * double(levels_) * query.unit, largest_sum);
}

void Scorer::quantize_shared(ScanQuery& query, uint8_t* tables) const {
    const Range whole = range_of(query.lut, 256);
    const double step_wanted = std::max((double(whole.high) - whole.low) / 254, 1e-30);
    query.unit = round_up_unit(step_wanted * weight_unit_);
    const double step = query.unit / weight_unit_, centre = 0.5 * (double(whole.low) + whole.high);
    const float per_step = float(1 / step), middle = float(centre);
    to_signed_bytes(query.lut, middle, per_step, tables);
    query.weights = weights_.data();
    // Start values go down to −2^30 and sums of entries stay within ±2^28: beyond these, all or none pass.
    query.lowest_threshold = -(1 << 30) - (1 << 28);
    query.highest_threshold = 1 << 28;
    const double largest = std::max(std::fabs(whole.low), std::fabs(whole.high));
    set_bound(query, double(middle) * scale_sum_, step * (0.5 * scale_sum_ + 127 * scale_error_),
              largest * scale_sum_);
}

void Scorer::set_bound(ScanQuery& query, double base, double error, double largest_sum) const {
    const double rounding = this->rounding();
    query.per_unit = 1 / query.unit;
    error += rounding * largest_sum;
    query.spread =
        2 * (error + 2 * rounding * largest_sum) / query.unit + 2;  // start values are rounded, too
    if (query.l2) {                                                 // key = square + norm − 2 Σ ≤ bound
        const double slack = rounding * (query.square + 4 * largest_sum);
        query.offset = 0.5 * (query.square + lowest_norm_ - slack) - base - error;
        query.slope = -0.5 * (1 + rounding);
    } else {  // key = −(Σ + bias) ≤ bound
        const double slack = rounding * (largest_sum + std::fabs(query.bias));
        query.offset = -query.bias - slack - base - error;
        query.slope = -1;
    }
    query.refresh();
}

void Scorer::scan(const ScanBlock& block, ScanQuery* const* queries, size_t count) const {
    if (kind_ == ScoreKind::Shared) return scan_shared(block, queries, count);
    if (kind_ == ScoreKind::Bytes) return scan_bytes(block, queries, count);
    for (size_t i = 0; i < count; i++) scan_exact(*queries[i], block);
}

void Scorer::scan_shared(const ScanBlock& block, ScanQuery* const* queries, size_t count) const {
    constexpr size_t kMost = 32;  // pointers handed over at a time
    ScoreQuery* scored[kMost];
    for (size_t first = 0; first < count; first += kMost) {
        const size_t n = std::min(kMost, count - first);
        std::copy_n(queries + first, n, scored);
        kernels_.scan_shared(block, scored, n, rescore);
    }
}

void Scorer::scan_bytes(const ScanBlock& block, ScanQuery* const* queries, size_t count) const {
    ScanQuery* group[kTogether];
    size_t together = 0;
    for (size_t i = 0; i < count; i++) {
        if (!scan_unbounded(block, *queries[i])) group[together++] = queries[i];
        if (together < kTogether && i + 1 < count) continue;
        scan_together(block, group, together);
        together = 0;
    }
}

/// A query without a bound, if the scores themselves tell which vectors may be among the nearest.
bool Scorer::scan_unbounded(const ScanBlock& block, ScanQuery& query) const {
    if (query.sink->bound() < std::numeric_limits<float>::infinity() || byte_tables_.dropped ||
        shared_bits_ || may_overflow(query))
        return false;
    // Exact keys are rounded by a share of the numbers they consist of. One norm stands for all: start values
    // tell at most 2^14 units apart, and scores that met with that limit are not used.
    const double numbers =
        std::fabs(query.square) + std::fabs(query.bias) + (block.norms ? std::fabs(block.norms[0]) : 0);
    // Keys that are sums of differences stray twice: those of the best, and those of what is to be found.
    // Half of a key is what a score counts.
    const double spread = query.spread + (2 * rounding() * numbers + query.stray) / query.unit;
    if (!scan_best(kernels_, byte_tables_, spread, block, query)) return false;
    query.sink->tighten();
    query.refresh();
    return true;
}

void Scorer::scan_together(const ScanBlock& block, ScanQuery* const* queries, size_t count) const {
    if (count == 0) return;
    uint64_t above[kTogether][kMostMasks];
    uint64_t* const rows[kTogether] = {above[0], above[1], above[2], above[3]};
    ScoreQuery* scored[kTogether];
    std::copy_n(queries, count, scored);
    const size_t last = (block.n + 63) / 64 * 64;
    const bool bounded = std::all_of(queries, queries + count, [](const ScanQuery* query) {
        return query->sink->bound() < std::numeric_limits<float>::infinity();
    });
    size_t chunk = bounded ? kChunk : kFirstChunk;
    for (size_t begin = 0; begin < block.n; begin += chunk, chunk = std::min(2 * chunk, kChunk)) {
        chunk = std::min(chunk, last - begin);
        kernels_.score_bytes(block, begin, begin + chunk, scored, count, byte_tables_, rows);
        for (size_t q = 0; q < count; q++) rescore(*queries[q], block, begin, above[q], chunk / 64);
    }
}

}  // namespace drq
