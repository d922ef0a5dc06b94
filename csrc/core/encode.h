// Beam-search encoding and the sums that closed-form training needs.
#pragma once

#include <cstdint>
#include <memory>

#include "core/executor.h"
#include "core/quantizer.h"

namespace drq {

/// Beam-search encoder of one quantizer. It keeps inner products between codewords, computed when first
/// needed, from call to call; any number of threads may use it.
class Encoder {
  public:
    explicit Encoder(std::shared_ptr<const Quantizer> quantizer);
    ~Encoder();

    const Quantizer& quantizer() const { return *quantizer_; }

    /// Codes of n vectors x (n, d), to codes (n, M).
    ///
    /// At every level the `beam` partial codes with the smallest squared error are kept; ties go to the
    /// earlier partial code, then the lower codeword. The same codes on every SIMD level. Throws
    /// std::invalid_argument if beam < 1.
    void encode(size_t n, const float* x, int beam, int32_t* codes, const Executor& executor) const;

  private:
    class Tables;
    class Products;
    class BeamSearch;

    std::shared_ptr<const Quantizer> quantizer_;
    std::unique_ptr<const Tables> tables_;
};

/// sums[m][k] = Σ of the vectors whose level-m code is k: x (n, d), codes (n, M) → sums (M, K, d).
void code_sums(size_t n, size_t d, const float* x, size_t M, size_t K, const int32_t* codes, double* sums,
               const Executor& executor);

}  // namespace drq
