// Norms of reconstructions, which L2 searches add to what their tables give.
#pragma once

#include <vector>

#include "core/executor.h"
#include "core/isa/kernels.h"
#include "core/quantizer.h"
#include "core/rotation.h"

namespace drq {

/// ‖S‖² of one code after the other, S = x̂_L − shift, or ⟨S, S + other⟩ with another vector.
///
/// Where some of the levels are in blocks the coordinates are those of the quantizer's rotation, so that a
/// level counts in its block's only.
class ReconstructionNorm {
  public:
    /// The quantizer must outlive this.
    ReconstructionNorm(const Quantizer& quantizer, size_t levels);

    /// Takes another vector (d) from now on, or none: null.
    void set_other(const float* other);

    /// Of the code whose first levels are these, (levels).
    float operator()(const int32_t* code);

  private:
    /// The codewords of a level.
    struct Source {
        size_t level;
        const float* rows;
        size_t pitch;
    };
    void add_level(size_t m);

    const Quantizer& quantizer_;
    const Rotation* rotation_ = nullptr;  ///< null: no level is in a block
    std::vector<Source> sources_;         ///< (levels) in the order of isa::SumOfRows
    std::vector<float> scales_;           ///< (levels), likewise
    std::vector<const float*> rows_;      ///< (levels)
    std::vector<isa::SumOfRows::Part> parts_;
    isa::SumOfRows sum_;
    std::vector<float> other_;  ///< the other vector in those coordinates; empty: none
};

/// ‖x̂_L − shift‖² of vectors [begin, end) for the first `levels` levels, to out (end − begin).
void reconstruction_norms(const Quantizer& quantizer, const Codes& codes, size_t levels, size_t begin,
                          size_t end, float* out, const Executor& executor);

}  // namespace drq
