// Norms of the codes in a list, which depend on the list's centroid.
#pragma once

#include "core/quantizer.h"

namespace drq {

/// Norms of n codes in the list with centroid c, see ListDatabase, to out (n): ‖S‖², and for residuals
/// ‖S‖² + 2⟨S, c − origin + shift⟩, all in the quantizer's unit. `centroid` is null for codes of whole
/// vectors.
void list_norms(const Quantizer& quantizer, const Codes& codes, size_t levels, const float* centroid,
                const float* origin, float* out);

}  // namespace drq
