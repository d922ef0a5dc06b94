#include "core/rotation.h"

#include <algorithm>
#include <cmath>

#include "core/product.h"

namespace drq {

namespace {

size_t rounded_up(size_t n) { return (n + Quantizer::kLanes - 1) / Quantizer::kLanes * Quantizer::kLanes; }

/// Completes orthonormal rows (n, d) to d of them, by Gram-Schmidt with the unit vectors that are farthest
/// from what they span.
void complete(size_t d, std::vector<double>& rows) {
    std::vector<double> left(d, 1);  // squares of what the unit vectors have beside the rows
    const auto take_off = [&](const double* row) {
        for (size_t j = 0; j < d; j++) left[j] -= row[j] * row[j];
    };
    for (size_t i = 0; i < rows.size(); i += d) take_off(&rows[i]);
    while (rows.size() < d * d) {
        std::vector<double> axis(d);
        axis[size_t(std::max_element(left.begin(), left.end()) - left.begin())] = 1;
        for (int times = 0; times < 2; times++)  // again: the first time leaves rounding behind
            for (size_t i = 0; i < rows.size(); i += d)
                subtract(d, product(d, &rows[i], axis.data()), &rows[i], axis.data());
        const double length = std::sqrt(product(d, axis.data(), axis.data()));
        for (double& value : axis) value /= length;
        take_off(axis.data());
        rows.insert(rows.end(), axis.begin(), axis.end());
    }
}

}  // namespace

Rotation::Rotation(const Quantizer& quantizer, const std::vector<double>& axes) : d_(quantizer.d) {
    place(quantizer, axes);
    columns_.assign(d_ * width(), 0);
    for (size_t i = 0; i < d_; i++)
        for (size_t j = 0; j < d_; j++) columns_[j * width() + positions_[i]] = float(basis_[i * d_ + j]);
    for (const Quantizer::Base& base : quantizer.bases) rows_.push_back(rotate(base));
    basis_ = {};
    positions_ = {};
}

/// Gives each axis a coordinate. Those that are zero need none.
void Rotation::place(const Quantizer& quantizer, const std::vector<double>& axes) {
    size_t end = 0;
    for (const Quantizer::Block& block : quantizer.blocks) {
        blocks_.push_back({end, end + rounded_up(block.size)});
        for (size_t i = 0; i < block.size; i++) {
            const double* const axis = &axes[(block.begin + i) * d_];
            if (product(d_, axis, axis) == 0) continue;
            basis_.insert(basis_.end(), axis, axis + d_);
            positions_.push_back(end + i);
        }
        end = blocks_.back().end;
    }
    rest_ = {end, end + rounded_up(d_ - positions_.size())};
    while (positions_.size() < d_) positions_.push_back(end++);
    complete(d_, basis_);
}

Rotation::Rows Rotation::rotate(const Quantizer::Base& base) const {
    const bool dense = base.block == Quantizer::kDense;
    const Range range = dense ? Range{0, width()} : blocks_[size_t(base.block)];
    Rows rows{range.end - range.begin, {}};
    rows.values.assign(base.K * rows.pitch, 0);
    for (size_t k = 0; k < base.K; k++) {
        float* const row = &rows.values[k * rows.pitch];
        for (size_t i = 0; i < base.depth(); i++)
            if (dense)
                row[positions_[i]] = float(product(d_, &base.rows[k * d_], &basis_[i * d_]));
            else
                row[i] = base.columns[i * base.stride + k];
    }
    return rows;
}

}  // namespace drq
