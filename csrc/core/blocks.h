// Bases whose codewords differ in few directions only.
#pragma once

#include "core/quantizer.h"

namespace drq {

/// How much of the largest codeword of a base may lie beside the axes of its block: what rounding to floats
/// leaves there, with some to spare.
constexpr double kBesideAxes = 1.0 / (1 << 20);

/// Finds the bases that are in blocks, and gives them columns along the blocks' axes. Bases that have
/// directions in common share a block. Expects bases with dense columns and no blocks.
void find_blocks(Quantizer& quantizer);

}  // namespace drq
