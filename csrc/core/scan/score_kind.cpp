#include "core/scan/score_kind.h"

#include <algorithm>

namespace drq {

namespace {

constexpr size_t kMostByteLevels = 1024;    // of more, entries of up to 31 say too little
constexpr size_t kHighestSum = 128 * 255;   // with start values, it fits in 16 bits
constexpr size_t kMostSharedLevels = 8192;  // 8192 · 255 · 127 and the start values fit in 32 bits

}  // namespace

ScoreKind choose_score_kind(const isa::Kernels& kernels, const Quantizer& quantizer, size_t levels,
                            bool grouped) {
    if (kernels.scan_shared && quantizer.shared() && quantizer.all_have(levels, 8) &&
        levels <= kMostSharedLevels)
        return ScoreKind::Shared;
    if (kernels.score_bytes && (quantizer.max_nbits(levels) <= 8 || grouped) && levels <= kMostByteLevels)
        return ScoreKind::Bytes;
    return ScoreKind::Exact;
}

int largest_entry(size_t levels) { return int(std::min<size_t>(255, kHighestSum / levels)); }

size_t levels_per_plane(const isa::Kernels& kernels, const Quantizer& quantizer, size_t levels) {
    return choose_score_kind(kernels, quantizer, levels, false) == ScoreKind::Shared ? 4 : 1;
}

}  // namespace drq
