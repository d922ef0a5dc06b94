// Squared distances summed up from differences, coordinate by coordinate.
//
// ‖q − x̂‖² = ‖q‖² + ‖x̂‖² − 2⟨q, x̂⟩ needs one look-up per level, but where the distance is small against the
// numbers on the right, their rounding is all that is left of it. Differences of coordinates are small where
// the distance is, and so is their rounding.
#pragma once

#include <vector>

#include "core/isa/kernels.h"
#include "core/quantizer.h"

namespace drq {

/// What reconstructions are compared with: query − centroid − shift, whose last two may be missing (null).
struct Point {
    const float* query = nullptr;     ///< (d)
    const float* centroid = nullptr;  ///< (d)
    const float* shift = nullptr;     ///< (d)
};

/// The squared distances of points to the sums of a code's first levels, the same bits on every instruction
/// set.
class Differences {
  public:
    /// The quantizer must outlive this.
    Differences(const isa::Kernels& kernels, const Quantizer& quantizer, size_t levels);

    /// ‖point − Σ_m scale_m C[code_of(m)]‖².
    template <class CodeOf>
    [[gnu::noinline]] float square(const Point& point, const CodeOf& code_of) const {
        constexpr size_t kFew = 32;  // levels whose rows need no memory of their own
        const float* few[kPointRows + kFew];
        std::vector<const float*> many(levels_ > kFew ? kPointRows + levels_ : 0);
        const float** rows = many.empty() ? few : many.data();
        set_point(point, rows);
        for (size_t m = 0; m < levels_; m++)
            rows[kPointRows + m] = quantizer_.base(m).rows.data() + size_t(code_of(m)) * quantizer_.d;
        const isa::SumOfRows::Part all{quantizer_.d, 0};
        return norm_({kPointRows + levels_, rows, weights_.data(), 1, &all}, nullptr);
    }

    /// ‖point‖².
    float square(const Point& point) const;

  private:
    static constexpr size_t kPointRows = 3;

    /// The query less the centroid first: they are near each other, and what is left is small.
    void set_point(const Point& point, const float** rows) const {
        rows[0] = point.query;
        rows[1] = point.centroid ? point.centroid : zeros_.data();
        rows[2] = point.shift ? point.shift : zeros_.data();
    }

    float (*const norm_)(const isa::SumOfRows& sum, const float* other);
    const Quantizer& quantizer_;
    const size_t levels_;
    const std::vector<float> zeros_;  ///< (d)
    std::vector<float> weights_;      ///< of the point's rows, then of the levels
};

}  // namespace drq
