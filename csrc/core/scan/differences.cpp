#include "core/scan/differences.h"

#include "core/isa/kernels.h"

namespace drq {

Differences::Differences(const isa::Kernels& kernels, const Quantizer& quantizer, size_t levels)
    : norm_(kernels.weighted_sum_norm),
      quantizer_(quantizer),
      levels_(levels),
      zeros_(quantizer.d),
      weights_{-1, 1, 1} {
    weights_.insert(weights_.end(), quantizer.scale.begin(), quantizer.scale.begin() + ptrdiff_t(levels));
}

}  // namespace drq
