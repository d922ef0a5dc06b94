#include "core/quantizer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>

#include "core/blocks.h"
#include "core/units.h"

namespace drq {

namespace {

size_t size_of(const Codebooks& codebooks, size_t m) {
    return (size_t{1} << codebooks.nbits[m]) * codebooks.d;
}

/// The largest absolute value of each dimension of level m, (d).
std::vector<double> max_abs(const Codebooks& codebooks, size_t m) {
    const size_t d = codebooks.d;
    std::vector<float> largest(d);
    for (const float *row = codebooks.level[m], *end = row + size_of(codebooks, m); row < end; row += d)
        for (size_t j = 0; j < d; j++) {
            const float value = std::fabs(row[j]);
            largest[j] = largest[j] < value ? value : largest[j];
        }
    return {largest.begin(), largest.end()};
}

void check(const Codebooks& codebooks) {
    if (codebooks.d == 0) throw std::invalid_argument("codebooks: d is 0, expected at least 1");
    if (codebooks.nbits.empty()) throw std::invalid_argument("codebooks: 0 levels, expected at least 1");
    if (codebooks.nbits.size() != codebooks.level.size())
        throw std::invalid_argument("codebooks: " + std::to_string(codebooks.nbits.size()) +
                                    " bit widths for " + std::to_string(codebooks.level.size()) + " levels");
    for (int nbits : codebooks.nbits)
        if (nbits < 1 || nbits > 16)
            throw std::invalid_argument("codebooks: a level of " + std::to_string(nbits) +
                                        " bits, expected 1 to 16");
}

std::vector<double> mean_codeword(const Codebooks& codebooks, size_t m) {
    const size_t d = codebooks.d, K = size_t{1} << codebooks.nbits[m];
    std::vector<double> mean(d);
    for (size_t k = 0; k < K; k++)
        for (size_t j = 0; j < d; j++) mean[j] += codebooks.level[m][k * d + j];
    for (double& value : mean) value /= double(K);
    return mean;
}

/// s with `level` ≈ s · `base` + constant, by least squares over differences from the mean codeword.
double fitted_scale(const Codebooks& codebooks, size_t base, size_t m) {
    const size_t d = codebooks.d, n = size_of(codebooks, m);
    const std::vector<double> mean0 = mean_codeword(codebooks, base), mean = mean_codeword(codebooks, m);
    double cross = 0, square = 0;
    for (size_t row = 0; row < n; row += d)
        for (size_t j = 0; j < d; j++) {
            const double b = codebooks.level[base][row + j] - mean0[j];
            const double v = codebooks.level[m][row + j] - mean[j];
            cross += b * v;
            square += b * b;
        }
    return square > 0 ? cross / square : 0;
}

/// Whether a level's codewords differ by more than rounding: a constant is a multiple of anything.
bool varies(const Codebooks& codebooks, size_t base, size_t m, double scale) {
    constexpr double kLeast = 1.0 / (1 << 12);
    const std::vector<double> mean = mean_codeword(codebooks, base), largest = max_abs(codebooks, m);
    double spread = 0;
    for (size_t row = 0; row < size_of(codebooks, base); row += codebooks.d)
        for (size_t j = 0; j < codebooks.d; j++)
            spread = std::max(spread, std::fabs(codebooks.level[base][row + j] - mean[j]));
    return scale * spread >= kLeast * *std::max_element(largest.begin(), largest.end());
}

/// The rounding that storing the two codebooks as floats can have left between level and scale · base, (d).
std::vector<double> tolerance(const Codebooks& codebooks, size_t base, size_t m, double scale) {
    constexpr double kUnit = 1.0 / (1 << 22);
    std::vector<double> allowed = max_abs(codebooks, m);
    const std::vector<double> largest = max_abs(codebooks, base);
    for (size_t j = 0; j < allowed.size(); j++) allowed[j] = kUnit * (allowed[j] + scale * largest[j]);
    return allowed;
}

/// Whether two of its codewords rule out that a level is a multiple of another, up to a constant: what they
/// differ by has the same direction in both then. Saves nearly all of the work for codes of many codebooks.
bool is_no_multiple(const Codebooks& codebooks, size_t base, size_t m) {
    constexpr double kSurely = 0.9, kRounded = 1e-6;  // squared cosine; squared difference by squared length
    const size_t d = codebooks.d;
    double cross = 0, squares[2] = {}, lengths[2] = {};
    for (size_t j = 0; j < d; j++) {
        double difference[2];
        for (int i = 0; i < 2; i++) {
            const float* level = codebooks.level[i ? m : base];
            difference[i] = double(level[d + j]) - level[j];
            squares[i] += difference[i] * difference[i];
            lengths[i] += double(level[j]) * level[j];
        }
        cross += difference[0] * difference[1];
    }
    if (squares[0] <= kRounded * lengths[0] || squares[1] <= kRounded * lengths[1]) return false;
    return cross <= 0 || cross * cross < kSurely * squares[0] * squares[1];
}

/// The scale s > 0 for which level m is s · (level `base` − shift), if there is one.
std::optional<double> multiple_of(const Codebooks& codebooks, size_t base, size_t m,
                                  const std::vector<double>& shift) {
    if (codebooks.nbits[base] != codebooks.nbits[m] || is_no_multiple(codebooks, base, m))
        return std::nullopt;
    const double scale = fitted_scale(codebooks, base, m);
    if (!(scale > 0) || !varies(codebooks, base, m, scale)) return std::nullopt;
    const std::vector<double> allowed = tolerance(codebooks, base, m, scale);
    for (size_t row = 0; row < size_of(codebooks, m); row += codebooks.d)
        for (size_t j = 0; j < codebooks.d; j++) {
            const double expected = scale * (codebooks.level[base][row + j] - shift[j]);
            if (!(std::fabs(expected - codebooks.level[m][row + j]) <= allowed[j])) return std::nullopt;
        }
    return scale;
}

/// What level 0 holds besides its codebook. A level that is a multiple of level 0 up to a constant tells the
/// mean that training folded in: mean(cb_m) = s · (mean(cb_0) − shift). Without one the mean codeword serves,
/// because any constant may be split off and this one makes the table entries smallest.
std::vector<double> folded_shift(const Codebooks& codebooks) {
    const size_t d = codebooks.d;
    const std::vector<double> mean0 = mean_codeword(codebooks, 0);
    for (size_t m = 1; m < codebooks.level.size(); m++) {
        if (codebooks.nbits[m] != codebooks.nbits[0] || is_no_multiple(codebooks, 0, m)) continue;
        const double scale = fitted_scale(codebooks, 0, m);
        if (!(scale > 0)) continue;
        const std::vector<double> mean = mean_codeword(codebooks, m);
        std::vector<double> shift(d);
        for (size_t j = 0; j < d; j++) shift[j] = mean0[j] - mean[j] / scale;
        if (multiple_of(codebooks, 0, m, shift)) return shift;
    }
    return mean0;
}

/// The unit that suits all levels.
float unit_of_all(const Codebooks& codebooks) {
    float unit = 1;
    for (size_t m = 0; m < codebooks.level.size(); m++)
        unit = std::max(unit, unit_of(size_of(codebooks, m), codebooks.level[m]));
    return unit;
}

Quantizer::Base make_base(const Codebooks& codebooks, size_t m, const std::vector<double>& shift,
                          double unit) {
    Quantizer::Base base;
    const size_t d = codebooks.d;
    base.nbits = codebooks.nbits[m];
    base.K = size_t{1} << base.nbits;
    base.stride = (base.K + Quantizer::kLanes - 1) / Quantizer::kLanes * Quantizer::kLanes;
    base.columns.assign(d * base.stride, 0);
    base.rows.resize(base.K * d);
    for (size_t k = 0; k < base.K; k++) {
        double square = 0;
        for (size_t j = 0; j < d; j++) {
            const float value = float((codebooks.level[m][k * d + j] - shift[j]) / unit);
            base.columns[j * base.stride + k] = value;
            base.rows[k * d + j] = value;
            square += double(value) * value;
        }
        base.largest_norm = std::max(base.largest_norm, std::sqrt(square));
    }
    return base;
}

}  // namespace

bool Quantizer::all_have(size_t levels, int nbits) const {
    for (size_t m = 0; m < levels; m++)
        if (base(m).nbits != nbits) return false;
    return true;
}

int Quantizer::max_nbits(size_t levels) const {
    int widest = 0;
    for (size_t m = 0; m < levels; m++) widest = std::max(widest, base(m).nbits);
    return widest;
}

Quantizer Quantizer::from_codebooks(const Codebooks& codebooks) {
    check(codebooks);
    Quantizer quantizer;
    quantizer.d = codebooks.d;
    quantizer.unit = unit_of_all(codebooks);
    const std::vector<double> shift = folded_shift(codebooks), zero(codebooks.d);
    quantizer.shift.assign(shift.begin(), shift.end());
    // Subtract the float that searches subtract from queries, not the double it was rounded from.
    const std::vector<double> rounded(quantizer.shift.begin(), quantizer.shift.end());

    std::vector<size_t> first;  // the level each base was taken from
    for (size_t m = 0; m < codebooks.level.size(); m++) {
        size_t g = 0;
        std::optional<double> scale;
        for (; g < first.size(); g++)
            if ((scale = multiple_of(codebooks, first[g], m, first[g] == 0 ? rounded : zero))) break;
        if (!scale) {
            quantizer.bases.push_back(make_base(codebooks, m, m == 0 ? rounded : zero, quantizer.unit));
            first.push_back(m);
        }
        quantizer.group.push_back(int(g));
        quantizer.scale.push_back(float(scale.value_or(1)));
        quantizer.code_bits += size_t(codebooks.nbits[m]);
    }
    divide(quantizer.d, quantizer.unit, quantizer.shift.data());
    find_blocks(quantizer);
    return quantizer;
}

/// In multiples of 2⁻²⁴ ‖x‖ ‖C[k]‖, to first order. A product of d numbers errs by at most d of these. A
/// coordinate along an axis errs by as much, a codeword's coordinates may add up to √size of its length, and
/// what lies beside the axes is left out. The d coordinates of a rotated vector err by at most d/16 + 20
/// each, and products with it are summed up block by block.
double Quantizer::product_error() const {
    size_t largest = 0;
    for (const Block& block : blocks) largest = std::max(largest, block.size);
    const double n = double(d), size = double(largest), beside = kBesideAxes * (1 << 24);
    if (!largest) return n;
    const double entries = n * (std::sqrt(size) + 1) + size;
    const double rotated = (std::sqrt(n) + 1) * (n / 16 + 20) + double(blocks.size()) + 1;
    return std::max(entries, rotated) + beside;
}

/// In multiples of 2⁻²⁴ of the square of all codewords' lengths: what lies beside the axes and what the
/// rounding of coordinates takes, both twice in a square, and a sum more for each block.
double Quantizer::square_error() const {
    return blocks.empty() ? 0 : 2 * (kBesideAxes * (1 << 24) + 1) + double(blocks.size()) + 1;
}

void unpack_row(const Quantizer& quantizer, const Codes& codes, size_t row, size_t first, size_t last,
                int32_t* out) {
    size_t bit = 0;
    for (size_t m = first; m < last; m++) {
        const int nbits = quantizer.base(m).nbits;
        *out++ = int32_t(codes.number(row, bit, nbits));
        bit += size_t(nbits);
    }
}

void unpack_codes(const Quantizer& quantizer, const Codes& codes, size_t begin, size_t n, size_t levels,
                  int32_t* out) {
    for (size_t i = 0; i < n; i++) unpack_row(quantizer, codes, begin + i, 0, levels, out + i * levels);
}

}  // namespace drq
