// Norms of reconstructions, which L2 searches add to what their tables give.
#pragma once

#include <vector>

#include "core/executor.h"
#include "core/quantizer.h"

namespace drq {

/// ‖S‖² of one code after the other, S = x̂_L − shift.
class ReconstructionNorm {
  public:
    /// The quantizer must outlive this.
    ReconstructionNorm(const Quantizer& quantizer, size_t levels)
        : quantizer_(quantizer), codewords_(levels) {}

    /// Of the code whose first levels are these, (levels); with `other` (d), ⟨S, S + other⟩.
    float operator()(const int32_t* code, const float* other = nullptr);

  private:
    const Quantizer& quantizer_;
    std::vector<const float*> codewords_;
};

/// ‖x̂_L − shift‖² of vectors [begin, end) for the first `levels` levels, to out (end − begin).
void reconstruction_norms(const Quantizer& quantizer, const Codes& codes, size_t levels, size_t begin,
                          size_t end, float* out, const Executor& executor);

}  // namespace drq
