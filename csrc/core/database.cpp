#include "core/database.h"

#include "core/units.h"

namespace drq {

float query_unit(const Quantizer& quantizer, Metric metric, const float* x) {
    return metric == Metric::L2 ? quantizer.unit : unit_of(quantizer.d, x);
}

}  // namespace drq
