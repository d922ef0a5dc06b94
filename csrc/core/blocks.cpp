#include "core/blocks.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace drq {

namespace {

/// Two blocks whose axes have larger cosines with each other are one. Axes along which codewords hardly
/// differ are blurred by rounding, so that those of separate blocks are not quite orthogonal.
constexpr double kCommonCosine = 0.05;

/// Orthonormal rows (size, d).
struct Axes {
    size_t d;
    std::vector<double> values;

    size_t size() const { return values.size() / d; }
    const double* row(size_t i) const { return values.data() + i * d; }
};

double product(size_t d, const double* a, const double* b) { return std::inner_product(a, a + d, b, 0.0); }

void subtract(size_t d, double factor, const double* a, double* from) {
    for (size_t j = 0; j < d; j++) from[j] -= factor * a[j];
}

/// Axes that span n rows (n, d) up to `beside`, by Gram-Schmidt with the longest remainder first; nothing if
/// that takes more than `most`.
std::optional<Axes> spanning(size_t d, std::vector<double> rows, double beside, size_t most) {
    Axes axes{d, {}};
    const size_t n = rows.size() / d;
    while (true) {
        size_t longest = 0;
        double square = 0;
        for (size_t i = 0; i < n; i++) {
            const double own = product(d, &rows[i * d], &rows[i * d]);
            if (own > square) square = own, longest = i;
        }
        if (!(square > beside * beside)) return axes;
        if (axes.size() == most) return std::nullopt;
        std::vector<double> axis(&rows[longest * d], &rows[longest * d] + d);
        for (size_t i = 0; i < axes.size(); i++)  // again: long rows leave rounding behind
            subtract(d, product(d, axes.row(i), axis.data()), axes.row(i), axis.data());
        const double length = std::sqrt(product(d, axis.data(), axis.data()));
        for (double& value : axis) value /= length;
        for (size_t i = 0; i < n; i++)
            subtract(d, product(d, axis.data(), &rows[i * d]), axis.data(), &rows[i * d]);
        axes.values.insert(axes.values.end(), axis.begin(), axis.end());
    }
}

bool have_common(const Axes& a, const Axes& b) {
    for (size_t i = 0; i < a.size(); i++) {
        double square = 0;
        for (size_t j = 0; j < b.size(); j++) {
            const double cosine = product(a.d, a.row(i), b.row(j));
            square += cosine * cosine;
        }
        if (square > kCommonCosine * kCommonCosine) return true;
    }
    return false;
}

/// Projected products pay where a block has few axes for its dimensions. Any K codewords less their mean span
/// at most K − 1 dimensions: half of these are no coincidence.
size_t most_axes(const Quantizer& quantizer, const Quantizer::Base& base) {
    return std::min(quantizer.d / 4, (base.K - 1) / 2);
}

/// A block while blocks are being found, and the bases in it.
struct Found {
    Axes axes;
    size_t most;
    std::vector<size_t> bases;
};

/// Adds a base to the blocks, or to the one block that it and those with common directions become. Leaves
/// out a base that would make that too large.
void add_base(const Quantizer& quantizer, size_t g, std::vector<Found>& blocks) {
    const Quantizer::Base& base = quantizer.bases[g];
    const size_t d = quantizer.d, most = most_axes(quantizer, base);
    const double beside = kBesideAxes * base.largest_norm;
    auto axes = spanning(d, {base.rows.begin(), base.rows.end()}, beside, most);
    if (!axes || axes->size() == 0) return;
    Found joined{*axes, most, {g}};
    std::vector<Found> apart;
    for (const Found& block : blocks) {
        if (!have_common(joined.axes, block.axes)) {
            apart.push_back(block);
            continue;
        }
        std::vector<double> rows = block.axes.values;
        rows.insert(rows.end(), joined.axes.values.begin(), joined.axes.values.end());
        joined.most = std::min(joined.most, block.most);
        auto both = spanning(d, rows, kCommonCosine, joined.most);
        if (!both) return;
        joined.axes = *both;
        joined.bases.insert(joined.bases.end(), block.bases.begin(), block.bases.end());
    }
    apart.push_back(joined);
    blocks = apart;
}

/// The base's codewords along axes, by columns.
Lines<float> columns_along(const Axes& axes, const Quantizer::Base& base) {
    Lines<float> columns(axes.size() * base.stride);
    for (size_t k = 0; k < base.K; k++) {
        const float* codeword = &base.rows[k * axes.d];
        for (size_t i = 0; i < axes.size(); i++)
            columns[i * base.stride + k] =
                float(std::inner_product(codeword, codeword + axes.d, axes.row(i), 0.0));
    }
    return columns;
}

}  // namespace

void find_blocks(Quantizer& quantizer) {
    std::vector<Found> found;
    for (size_t g = 0; g < quantizer.bases.size(); g++) add_base(quantizer, g, found);
    size_t size = 0;
    for (const Found& block : found) {
        for (size_t g : block.bases) {
            quantizer.bases[g].block = int(quantizer.blocks.size());
            quantizer.bases[g].columns = columns_along(block.axes, quantizer.bases[g]);
        }
        quantizer.blocks.push_back({size, block.axes.size()});
        size += block.axes.size();
    }
    constexpr size_t kLanes = Quantizer::kLanes;
    quantizer.axes_stride = (size + kLanes - 1) / kLanes * kLanes;
    quantizer.axes.assign(quantizer.d * quantizer.axes_stride, 0);
    for (size_t b = 0; b < found.size(); b++)
        for (size_t i = 0; i < found[b].axes.size(); i++)
            for (size_t j = 0; j < quantizer.d; j++)
                quantizer.axes[j * quantizer.axes_stride + quantizer.blocks[b].begin + i] =
                    float(found[b].axes.row(i)[j]);
}

}  // namespace drq
