#include "core/search/norms.h"

#include <algorithm>

namespace drq {

namespace {

/// The coordinates of a vector x (d), to out (width). A few dimensions at a time, so that few roundings add
/// up.
void rotate(const Rotation& rotation, size_t d, const float* x, float* out) {
    constexpr size_t kTogether = 16;
    const size_t width = rotation.width();
    std::vector<float> part(width);
    std::fill_n(out, width, 0.f);
    for (size_t j = 0; j < d; j += kTogether) {
        isa::active().products(1, std::min(kTogether, d - j), x + j, d, width, rotation.columns() + j * width,
                               part.data(), width);
        for (size_t i = 0; i < width; i++) out[i] += part[i];
    }
}

}  // namespace

ReconstructionNorm::ReconstructionNorm(const Quantizer& quantizer, size_t levels)
    : quantizer_(quantizer), rows_(levels) {
    for (size_t m = 0; m < levels; m++)
        if (quantizer.in_block(m)) rotation_ = &quantizer.rotation->of(quantizer);
    for (size_t m = 0; m < levels; m++)
        if (!quantizer.in_block(m)) add_level(m);
    const size_t whole = sources_.size();
    for (size_t b = 0; rotation_ && b < quantizer.blocks.size(); b++) {
        const size_t before = sources_.size();
        for (size_t m = 0; m < levels; m++)
            if (quantizer.base(m).block == int(b)) add_level(m);
        parts_.push_back({rotation_->block(b).end, sources_.size() - before});
    }
    parts_.push_back({rotation_ ? rotation_->rest().end : quantizer.d, 0});
    sum_ = {whole, rows_.data(), scales_.data(), parts_.size(), parts_.data()};
}

void ReconstructionNorm::add_level(size_t m) {
    const size_t base = size_t(quantizer_.group[m]);
    const float* const rows = rotation_ ? rotation_->rows(base) : quantizer_.bases[base].rows.data();
    sources_.push_back({m, rows, rotation_ ? rotation_->pitch(base) : quantizer_.d});
    scales_.push_back(quantizer_.scale[m]);
}

void ReconstructionNorm::set_other(const float* other) {
    if (!other) return other_.clear();
    if (!rotation_) return other_.assign(other, other + quantizer_.d);
    other_.resize(rotation_->width());
    rotate(*rotation_, quantizer_.d, other, other_.data());
}

float ReconstructionNorm::operator()(const int32_t* code) {
    for (size_t i = 0; i < rows_.size(); i++)
        rows_[i] = sources_[i].rows + size_t(code[sources_[i].level]) * sources_[i].pitch;
    return isa::active().norm_of_sum(sum_, other_.empty() ? nullptr : other_.data());
}

void reconstruction_norms(const Quantizer& quantizer, const Codes& codes, size_t levels, size_t begin,
                          size_t end, float* out, const Executor& executor) {
    constexpr size_t kBatch = 1024;
    parallel_for(executor, (end - begin + kBatch - 1) / kBatch, [&](size_t batch, Checkpoint&) {
        const size_t first = begin + batch * kBatch, n = std::min(kBatch, end - first);
        std::vector<int32_t> code(n * levels);
        unpack_codes(quantizer, codes, first, n, levels, code.data());
        ReconstructionNorm norm(quantizer, levels);
        for (size_t i = 0; i < n; i++) out[first - begin + i] = norm(&code[i * levels]);
    });
}

}  // namespace drq
