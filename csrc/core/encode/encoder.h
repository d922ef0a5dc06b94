// Beam-search encoding and the sums that closed-form training needs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/encode/beam_encoder.h"
#include "core/executor.h"
#include "core/quantizer.h"

namespace drq {

/// Beam-search encoder of one quantizer. It keeps inner products between codewords, computed when first
/// needed, from call to call; any number of threads may use it.
///
/// Blocks are orthogonal, so the error is a sum over blocks and each is searched by itself: first the dense
/// levels, then in every block what they left over there.
class Encoder {
  public:
    /// gain_weights: (M) positive, what a level's reduction of the squared error counts; empty: 1 everywhere.
    /// With Σ_{L > m} α_L for level m, beam search minimises Σ_L α_L ‖x − x̂_L‖² instead of the last error.
    explicit Encoder(std::shared_ptr<const Quantizer> quantizer, std::vector<float> gain_weights = {});
    ~Encoder();

    const Quantizer& quantizer() const { return *quantizer_; }

    /// Codes of n vectors x (n, d), to codes (n, M).
    ///
    /// At every level the `beam` partial codes that reduce the squared error most are kept; ties go to the
    /// earlier partial code, then the lower codeword. The same codes on every instruction set. Throws
    /// std::invalid_argument if beam < 1.
    void encode(size_t n, const float* x, int beam, int32_t* codes, const Executor& executor) const;

  private:
    /// Levels that are searched together.
    struct Part {
        int block;  ///< of the quantizer, or Quantizer::kDense
        std::vector<size_t> levels;
        BeamEncoder encoder;
    };

    void encode_task(size_t n, const float* x, size_t beam, int32_t* codes, Checkpoint& checkpoint) const;

    /// Codes of a part's levels, for vectors in its coordinates, rows ldx apart; codes (n, M) has room for
    /// all.
    void encode_part(const Part& part, size_t n, const float* x, size_t ldx, size_t beam, int32_t* codes,
                     Checkpoint& checkpoint) const;

    /// Takes what a dense part's codes stand for off x (n, d).
    void subtract(const Part& part, size_t n, const int32_t* codes, float* x) const;

    std::shared_ptr<const Quantizer> quantizer_;
    std::vector<Part> parts_;  ///< the dense one first
};

/// sums[m][k] = Σ of the vectors whose level-m code is k: x (n, d), codes (n, M) → sums (M, K, d).
void code_sums(size_t n, size_t d, const float* x, size_t M, size_t K, const int32_t* codes, double* sums,
               const Executor& executor);

}  // namespace drq
