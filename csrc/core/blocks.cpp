#include "core/blocks.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "core/product.h"
#include "core/rotation.h"

namespace drq {

namespace {

/// Orthonormal rows (size, d), and how far codewords reach along each of them, in multiples of the largest.
struct Axes {
    size_t d;
    std::vector<double> values;
    std::vector<double> reach;

    size_t size() const { return reach.size(); }
    const double* row(size_t i) const { return values.data() + i * d; }
};

/// Axes that span n rows (n, d), the longest about 1, up to kBesideAxes, by Gram-Schmidt with the longest
/// remainder first; nothing if that takes more than `most`.
std::optional<Axes> spanning(size_t d, std::vector<double> rows, size_t most) {
    Axes axes{d, {}, {}};
    const size_t n = rows.size() / d;
    while (true) {
        size_t longest = 0;
        double square = 0;
        for (size_t i = 0; i < n; i++) {
            const double own = product(d, &rows[i * d], &rows[i * d]);
            if (own > square) square = own, longest = i;
        }
        if (!(square > kBesideAxes * kBesideAxes)) return axes;
        if (axes.size() == most) return std::nullopt;
        std::vector<double> axis(&rows[longest * d], &rows[longest * d] + d);
        for (size_t i = 0; i < axes.size(); i++)  // again: long rows leave rounding behind
            subtract(d, product(d, axes.row(i), axis.data()), axes.row(i), axis.data());
        const double length = std::sqrt(product(d, axis.data(), axis.data()));
        for (double& value : axis) value /= length;
        for (size_t i = 0; i < n; i++)
            subtract(d, product(d, axis.data(), &rows[i * d]), axis.data(), &rows[i * d]);
        axes.values.insert(axes.values.end(), axis.begin(), axis.end());
        axes.reach.push_back(std::sqrt(square));
    }
}

/// Codewords (K, d) in multiples of the largest.
std::vector<double> relative_rows(const Quantizer::Base& base) {
    std::vector<double> rows(base.rows.begin(), base.rows.end());
    if (base.largest_norm > 0)
        for (double& value : rows) value /= base.largest_norm;
    return rows;
}

/// Adds axes to rows, as long as codewords reach along them.
void append(const Axes& axes, std::vector<double>& rows) {
    for (size_t i = 0; i < axes.size(); i++)
        for (size_t j = 0; j < axes.d; j++) rows.push_back(axes.reach[i] * axes.row(i)[j]);
}

/// Whether codewords along a and codewords along b may have inner products beyond rounding. Axes along which
/// codewords reach a little way are blurred by rounding, so that those of separate blocks are not quite
/// orthogonal: cosines count as much as there is along the axis with less.
bool have_common(const Axes& a, const Axes& b) {
    for (size_t i = 0; i < a.size(); i++) {
        double square = 0;
        for (size_t j = 0; j < b.size(); j++) {
            const double common = std::min(a.reach[i], b.reach[j]) * product(a.d, a.row(i), b.row(j));
            square += common * common;
        }
        if (square > kBesideAxes * kBesideAxes) return true;
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
    const auto axes = spanning(d, relative_rows(base), most);
    if (!axes || axes->size() == 0) return;
    Found joined{*axes, most, {g}};
    std::vector<Found> apart;
    for (const Found& block : blocks) {
        if (!have_common(joined.axes, block.axes)) {
            apart.push_back(block);
            continue;
        }
        std::vector<double> rows;
        append(block.axes, rows);
        append(joined.axes, rows);
        joined.most = std::min(joined.most, block.most);
        const auto both = spanning(d, std::move(rows), joined.most);
        if (!both) return;
        joined.axes = *both;
        joined.bases.insert(joined.bases.end(), block.bases.begin(), block.bases.end());
    }
    apart.push_back(joined);
    blocks = apart;
}

/// Makes the axes of all blocks orthogonal, which they are but for rounding. Those along which codewords
/// reach far stay where they are, because rounding has blurred the others more. An axis of which little is
/// left becomes zero.
void separate(std::vector<Found>& blocks) {
    struct Axis {
        double reach;
        double* values;
    };
    std::vector<Axis> all;
    for (Found& block : blocks)
        for (size_t i = 0; i < block.axes.size(); i++)
            all.push_back({block.axes.reach[i], &block.axes.values[i * block.axes.d]});
    std::stable_sort(all.begin(), all.end(), [](const Axis& a, const Axis& b) { return a.reach > b.reach; });
    for (size_t i = 0; i < all.size(); i++) {
        const size_t d = blocks[0].axes.d;
        double* const axis = all[i].values;
        for (size_t before = 0; before < i; before++)
            subtract(d, product(d, all[before].values, axis), all[before].values, axis);
        const double left = product(d, axis, axis), factor = left > 0.5 ? 1 / std::sqrt(left) : 0;
        for (size_t j = 0; j < d; j++) axis[j] *= factor;
    }
}

/// The base's codewords along axes, by columns; nothing if some are not spanned by them.
std::optional<Lines<float>> columns_along(const Axes& axes, const Quantizer::Base& base) {
    const size_t d = axes.d;
    const double beside = kBesideAxes * base.largest_norm;
    Lines<float> columns(axes.size() * base.stride);
    for (size_t k = 0; k < base.K; k++) {
        std::vector<double> left(&base.rows[k * d], &base.rows[k * d] + d);
        for (size_t i = 0; i < axes.size(); i++) {
            const double coordinate = product(d, axes.row(i), left.data());
            subtract(d, coordinate, axes.row(i), left.data());
            columns[i * base.stride + k] = float(coordinate);
        }
        if (product(d, left.data(), left.data()) > beside * beside) return std::nullopt;
    }
    return columns;
}

}  // namespace

void find_blocks(Quantizer& quantizer) {
    std::vector<Found> found;
    for (size_t g = 0; g < quantizer.bases.size(); g++) add_base(quantizer, g, found);
    separate(found);
    size_t size = 0;
    std::vector<double> axes;
    for (const Found& block : found) {
        for (size_t g : block.bases) {
            auto columns = columns_along(block.axes, quantizer.bases[g]);
            if (!columns) continue;
            quantizer.bases[g].block = int(quantizer.blocks.size());
            quantizer.bases[g].columns = std::move(*columns);
        }
        quantizer.blocks.push_back({size, block.axes.size()});
        size += block.axes.size();
        axes.insert(axes.end(), block.axes.values.begin(), block.axes.values.end());
    }
    constexpr size_t kLanes = Quantizer::kLanes;
    quantizer.axes_stride = (size + kLanes - 1) / kLanes * kLanes;
    quantizer.axes.assign(quantizer.d * quantizer.axes_stride, 0);
    for (size_t i = 0; i < size; i++)
        for (size_t j = 0; j < quantizer.d; j++)
            quantizer.axes[j * quantizer.axes_stride + i] = float(axes[i * quantizer.d + j]);
    quantizer.rotation = std::make_shared<LazyRotation>(std::move(axes));
}

}  // namespace drq
