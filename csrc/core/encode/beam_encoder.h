// Beam search over all levels of a quantizer at once.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/executor.h"
#include "core/quantizer.h"

namespace drq {

/// Beam-search encoder of one quantizer without blocks. It keeps inner products between codewords, computed
/// when first needed, from call to call; any number of threads may use it.
class BeamEncoder {
  public:
    /// gain_weights: as Encoder takes them.
    BeamEncoder(Quantizer quantizer, const std::vector<float>& gain_weights);
    BeamEncoder(BeamEncoder&&) noexcept;
    ~BeamEncoder();

    const Quantizer& quantizer() const { return *quantizer_; }

    /// Codes of n vectors x (n, d), centred and in the quantizer's units, to codes (n, M), on this thread;
    /// see Encoder::encode.
    void encode(size_t n, const float* x, size_t beam, int32_t* codes, Checkpoint& checkpoint) const;

  private:
    class Tables;
    class Products;
    class BeamSearch;

    std::unique_ptr<const Quantizer> quantizer_;
    std::unique_ptr<const Tables> tables_;
};

}  // namespace drq
