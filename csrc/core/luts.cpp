#include "core/luts.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/isa/kernels.h"

namespace drq {

namespace {

/// The first of `levels` levels that uses base g, or `levels`.
size_t first_level(const Quantizer& quantizer, size_t levels, int g) {
    const auto begin = quantizer.group.begin();
    return size_t(std::find(begin, begin + ptrdiff_t(levels), g) - begin);
}

}  // namespace

void project(const Quantizer& quantizer, size_t n, const float* x, float* out) {
    isa::active().products(n, quantizer.d, x, quantizer.d, quantizer.axes_stride, quantizer.axes.data(), out,
                           quantizer.axes_stride);
}

LutLayout::LutLayout(const Quantizer& quantizer, size_t levels)
    : scales(quantizer.scale.begin(), quantizer.scale.begin() + ptrdiff_t(levels)) {
    offsets.reserve(levels);
    for (size_t m = 0; m < levels; m++) {
        const size_t first = first_level(quantizer, m, quantizer.group[m]);
        offsets.push_back(first < m ? offsets[first] : size);
        if (first == m) size += quantizer.base(m).stride;
        largest_scale = std::max(largest_scale, scales[m]);
    }
}

void build_luts(const Quantizer& quantizer, const LutLayout& layout, size_t n, const float* x, float* out) {
    const size_t levels = layout.offsets.size();
    std::vector<float> coordinates;  // along the axes of blocks, which only some prefixes need
    for (size_t m = 0; m < levels && coordinates.empty(); m++)
        if (quantizer.in_block(m)) coordinates.resize(n * quantizer.axes_stride);
    if (!coordinates.empty()) project(quantizer, n, x, coordinates.data());
    for (size_t g = 0; g < quantizer.bases.size(); g++) {
        const size_t first = first_level(quantizer, levels, int(g));
        if (first == levels) continue;
        const Quantizer::Base& base = quantizer.bases[g];
        const bool dense = base.block == Quantizer::kDense;
        const float* rows = dense ? x : coordinates.data() + quantizer.blocks[size_t(base.block)].begin;
        isa::active().products(n, base.depth(), rows, dense ? quantizer.d : quantizer.axes_stride,
                               base.stride, base.columns.data(), out + layout.offsets[first], layout.size);
    }
}

bool is_finite(const LutLayout& layout, const float* lut) {
    int32_t largest_bits = 0;  // of absolute values, whose order is that of their bits; NaN is above infinity
    for (size_t i = 0; i < layout.size; i++) {
        int32_t bits;
        std::memcpy(&bits, lut + i, sizeof bits);
        largest_bits = std::max(largest_bits, bits & 0x7fffffff);
    }
    float largest;
    std::memcpy(&largest, &largest_bits, sizeof largest);
    return std::isfinite(largest) && std::isfinite(largest * layout.largest_scale);
}

}  // namespace drq
