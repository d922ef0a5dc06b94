#include "core/scan/planes.h"

#include <algorithm>

#include "core/scan/packer.h"
#include "core/scan/score_kind.h"

namespace drq {

Planes::Planes(std::shared_ptr<const Quantizer> quantizer, size_t levels,
               std::shared_ptr<const Renumbered> renumbered, const isa::Kernels& kernels)
    : quantizer_(std::move(quantizer)),
      kernels_(kernels),
      levels_(levels),
      group_(levels_per_plane(kernels_, *quantizer_, levels)),
      stride_(BlockPacker::full_capacity(levels)) {
    if (group_ == 1) renumbered_ = std::move(renumbered);
}

size_t Planes::block_bytes() const { return (levels_ + group_ - 1) / group_ * group_ * stride_; }

Planes Planes::extended(const Codes& codes) const {
    Planes result = *this;
    result.n_ = codes.n;
    result.blocks_.resize(n_ / stride_);  // the last one, unless it is full, is packed again
    const Database database{*quantizer_,       codes,   levels_, Metric::InnerProduct, {}, nullptr,
                            renumbered_.get(), nullptr, kernels_};
    BlockPacker packer(database);
    for (size_t begin = result.blocks_.size() * stride_; begin < codes.n; begin += stride_) {
        const ScanBlock& packed = packer.pack(begin, std::min(begin + stride_, codes.n));
        const std::shared_ptr<uint8_t[]> block(new uint8_t[block_bytes()]);
        std::copy_n(packed.bytes, block_bytes(), block.get());
        result.blocks_.push_back(block);
    }
    return result;
}

}  // namespace drq
