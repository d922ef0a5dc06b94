// The scan of a query that has no bound yet: scores alone tell which vectors may be among the nearest.
#pragma once

#include "core/isa/kernels.h"
#include "core/scan/query.h"

namespace drq {

/// Offers the vectors of a block whose scores differ by at most `spread` from those of the best. False, with
/// nothing done, where scores cannot tell them from the others.
bool scan_best(const isa::Kernels& kernels, ByteTables tables, double spread, const ScanBlock& block,
               ScanQuery& query);

}  // namespace drq
