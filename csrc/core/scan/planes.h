// A second copy of the codes' first levels, packed as kernels read them: for single queries, which packing
// takes as long as the scan itself, and for truncated search in data larger than the caches, as unread levels
// are not fetched.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/isa/kernels.h"
#include "core/quantizer.h"
#include "core/scan/codeword_groups.h"

namespace drq {

/// Never changes; an extended copy shares all full blocks.
class Planes {
  public:
    /// Takes a quantizer whose levels have at most 8 bits, how many of them are to be packed, and how codes
    /// are to be numbered; null: as they are. They and what extends them are for these kernels; searches by
    /// others may have no use for them.
    Planes(std::shared_ptr<const Quantizer> quantizer, size_t levels,
           std::shared_ptr<const Renumbered> renumbered, const isa::Kernels& kernels);

    /// These planes and those of the codes after the first size(), which are the ones packed here.
    Planes extended(const Codes& codes) const;

    size_t size() const { return n_; }  ///< vectors
    size_t levels() const { return levels_; }
    size_t bytes() const { return blocks_.size() * block_bytes(); }

    size_t group() const { return group_; }    ///< levels per plane, ScanBlock::group
    size_t stride() const { return stride_; }  ///< vectors per block, ScanBlock::stride

    /// How codes are numbered here; null: as in the quantizer.
    const Renumbered* renumbered() const { return renumbered_.get(); }

    const uint8_t* block(size_t b) const { return blocks_[b].get(); }

  private:
    size_t block_bytes() const;

    std::shared_ptr<const Quantizer> quantizer_;
    std::shared_ptr<const Renumbered> renumbered_;
    const isa::Kernels& kernels_;
    size_t levels_, group_, stride_, n_ = 0;
    std::vector<std::shared_ptr<const uint8_t[]>> blocks_;
};

}  // namespace drq
