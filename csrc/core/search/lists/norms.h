// Norms of the codes in a list, which depend on the list's centroid.
#pragma once

#include <vector>

#include "core/quantizer.h"
#include "core/search/norms.h"

namespace drq {

/// The norm of one code after the other in the list with centroid c, see ListDatabase: ‖S‖², and for
/// residuals ‖S‖² + 2⟨S, c − origin + shift⟩, all in the quantizer's unit.
class ListNorm {
  public:
    /// The quantizer must outlive this.
    ListNorm(const Quantizer& quantizer, size_t levels) : quantizer_(quantizer), norm_(quantizer, levels) {}

    /// Codes are from now on in the list with this centroid; null for codes of whole vectors.
    void enter(const float* centroid, const float* origin);

    /// Of the code whose first levels are these, (levels).
    float operator()(const int32_t* code) { return norm_(code); }

  private:
    const Quantizer& quantizer_;
    ReconstructionNorm norm_;
};

/// Norms of n codes in one list, to out (n).
void list_norms(const Quantizer& quantizer, const Codes& codes, size_t levels, const float* centroid,
                const float* origin, float* out);

}  // namespace drq
