// Norms of reconstructions, which L2 searches add to what their tables give.
#pragma once

#include "core/executor.h"
#include "core/quantizer.h"

namespace drq {

/// ‖x̂_L − shift‖² of vectors [begin, end) for the first `levels` levels, to out (end − begin).
void reconstruction_norms(const Quantizer& quantizer, const Codes& codes, size_t levels, size_t begin,
                          size_t end, float* out, const Executor& executor);

}  // namespace drq
