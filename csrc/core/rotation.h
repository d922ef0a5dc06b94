// Codewords in coordinates of which each block has some for itself, so that norms need few products.
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <vector>

#include "core/quantizer.h"

namespace drq {

/// Coordinates along the axes of one block after the other, then along axes that complete them: an
/// orthonormal basis, in which lengths are what they were. Each block begins at a multiple of kLanes, zeros
/// in between.
///
/// Codewords of blocks have coordinates in their block only; what lies beside its axes is left out.
class Rotation {
  public:
    /// Coordinates [begin, end), multiples of kLanes.
    struct Range {
        size_t begin, end;
    };

    /// Of the axes (size, d) of the quantizer's blocks. The quantizer is needed no longer.
    Rotation(const Quantizer& quantizer, const std::vector<double>& axes);

    size_t width() const { return rest_.end; }
    const Range& block(size_t b) const { return blocks_[b]; }
    const Range& rest() const { return rest_; }  ///< beside all blocks

    /// Codewords of a base (K, pitch): their block's coordinates, or all of them.
    const float* rows(size_t base) const { return rows_[base].values.data(); }
    size_t pitch(size_t base) const { return rows_[base].pitch; }

    /// The coordinates of unit vectors, (d, width).
    const float* columns() const { return columns_.data(); }

  private:
    struct Rows {
        size_t pitch;
        Lines<float> values;
    };
    void place(const Quantizer& quantizer, const std::vector<double>& axes);
    Rows rotate(const Quantizer::Base& base) const;

    size_t d_;
    std::vector<Range> blocks_;
    Range rest_{};
    std::vector<double> basis_;      ///< (d, d): orthonormal rows; only while rows are made
    std::vector<size_t> positions_;  ///< (d) of the coordinates along them; only then
    std::vector<Rows> rows_;         ///< by base
    Lines<float> columns_;
};

/// A rotation that is made when it is first needed: inner products do without, and it takes a while.
class LazyRotation {
  public:
    explicit LazyRotation(std::vector<double> axes) : axes_(std::move(axes)) {}

    /// Of the quantizer that this belongs to. May be called from any thread.
    const Rotation& of(const Quantizer& quantizer) {
        std::call_once(once_, [&] {
            rotation_.emplace(quantizer, axes_);
            axes_ = {};
        });
        return *rotation_;
    }

  private:
    std::once_flag once_;
    std::vector<double> axes_;  ///< (size, d) as they were before they were rounded to floats
    std::optional<Rotation> rotation_;
};

}  // namespace drq
