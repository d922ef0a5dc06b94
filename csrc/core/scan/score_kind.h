// Which integers bound distances, and how codes lie in planes for that.
#pragma once

#include <cstddef>

#include "core/isa/kernels.h"
#include "core/quantizer.h"

namespace drq {

/// How the vectors of a block are scored.
enum class ScoreKind {
    Exact,   ///< no integers: every vector's exact distance
    Bytes,   ///< one unsigned byte table per level, 16-bit scores
    Shared,  ///< one signed byte table for all levels and a byte weight per level, 32-bit scores
};

/// What these kernels score codes with. `grouped`: codes wider than a byte come with the bytes of their
/// groups.
ScoreKind choose_score_kind(const isa::Kernels& kernels, const Quantizer& quantizer, size_t levels,
                            bool grouped);

/// The largest entry of the byte tables of so many levels: their sums fit in 16 bits, ScoreKind::Bytes.
int largest_entry(size_t levels);

/// Levels per plane of the blocks that these kernels read, ScanBlock::group.
size_t levels_per_plane(const isa::Kernels& kernels, const Quantizer& quantizer, size_t levels);

}  // namespace drq
