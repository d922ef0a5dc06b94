// A block looked at by many queries, those with one unit together.
#pragma once

#include <cstddef>
#include <vector>

#include "core/scan/bounds.h"
#include "core/scan/packer.h"
#include "core/scan/query.h"

namespace drq {

/// Queries of one unit next to each other, as scan_by_unit takes them.
void sort_by_unit(std::vector<ScanQuery*>& queries);

/// Offers what can enter the result to each of `count` queries; `packer`, whose block it is, sets start
/// values once for all that have one unit.
void scan_by_unit(const Scorer& scorer, BlockPacker& packer, const ScanBlock& block,
                  ScanQuery* const* queries, size_t count);

}  // namespace drq
