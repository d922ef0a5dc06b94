#include "core/encode/encoder.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "core/luts.h"

namespace drq {

namespace {

constexpr size_t kTask = 480;  // vectors a thread takes at once

/// The levels of one block, or the dense ones, as a quantizer of their own: in the block's coordinates, of
/// vectors that are centred and in units already.
Quantizer part_of(const Quantizer& whole, int block, const std::vector<size_t>& levels) {
    Quantizer part;
    const bool dense = block == Quantizer::kDense;
    part.d = dense ? whole.d : whole.blocks[size_t(block)].size;
    part.shift.assign(part.d, 0);
    std::vector<int> numbers(whole.bases.size(), -1);  // of the bases, in the part
    for (size_t m : levels) {
        int& number = numbers[size_t(whole.group[m])];
        if (number < 0) {
            number = int(part.bases.size());
            Quantizer::Base base = whole.base(m);
            base.block = Quantizer::kDense;
            if (!dense) {
                base.rows.resize(base.K * part.d);
                for (size_t i = 0; i < base.rows.size(); i++)
                    base.rows[i] = base.columns[i % part.d * base.stride + i / part.d];
            }
            part.bases.push_back(std::move(base));
        }
        part.group.push_back(number);
        part.scale.push_back(whole.scale[m]);
    }
    return part;
}

/// Weights of some levels.
std::vector<float> weights_of(const std::vector<float>& all, const std::vector<size_t>& levels) {
    std::vector<float> some;
    for (size_t m : levels)
        if (!all.empty()) some.push_back(all[m]);
    return some;
}

}  // namespace

Encoder::Encoder(std::shared_ptr<const Quantizer> quantizer, std::vector<float> gain_weights)
    : quantizer_(std::move(quantizer)) {
    const auto positive = [](float weight) { return weight > 0 && std::isfinite(weight); };
    if (!gain_weights.empty() && gain_weights.size() != quantizer_->levels())
        throw std::invalid_argument("gain_weights: " + std::to_string(gain_weights.size()) +
                                    " weights, expected one for each of " +
                                    std::to_string(quantizer_->levels()) + " levels");
    if (!std::all_of(gain_weights.begin(), gain_weights.end(), positive))
        throw std::invalid_argument("gain_weights: expected positive numbers");
    for (int block = Quantizer::kDense; block < int(quantizer_->blocks.size()); block++) {
        std::vector<size_t> levels;
        for (size_t m = 0; m < quantizer_->levels(); m++)
            if (quantizer_->base(m).block == block) levels.push_back(m);
        if (levels.empty()) continue;
        parts_.push_back(
            {block, levels, {part_of(*quantizer_, block, levels), weights_of(gain_weights, levels)}});
    }
}

Encoder::~Encoder() = default;

void Encoder::encode(size_t n, const float* x, int beam, int32_t* codes, const Executor& executor) const {
    if (beam < 1) throw std::invalid_argument("beam: " + std::to_string(beam) + ", expected at least 1");
    const size_t d = quantizer_->d, M = quantizer_->levels();
    parallel_for(executor, (n + kTask - 1) / kTask, [&](size_t task, Checkpoint& checkpoint) {
        const size_t begin = task * kTask, count = std::min(kTask, n - begin);
        encode_task(count, x + begin * d, size_t(beam), codes + begin * M, checkpoint);
    });
}

void Encoder::encode_task(size_t n, const float* x, size_t beam, int32_t* codes,
                          Checkpoint& checkpoint) const {
    const Quantizer& q = *quantizer_;
    std::vector<float> residuals(x, x + n * q.d);
    const float per_unit = 1 / q.unit;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < q.d; j++) {
            float& value = residuals[i * q.d + j];
            value = value * per_unit - q.shift[j];
        }
    if (parts_.size() == 1 && parts_[0].block == Quantizer::kDense)
        return parts_[0].encoder.encode(n, residuals.data(), beam, codes, checkpoint);
    std::vector<float> coordinates;
    for (const Part& part : parts_) {
        if (part.block == Quantizer::kDense) {
            encode_part(part, n, residuals.data(), q.d, beam, codes, checkpoint);
            subtract(part, n, codes, residuals.data());
            continue;
        }
        if (coordinates.empty()) {
            coordinates.resize(n * q.axes_stride);
            project(q, n, residuals.data(), coordinates.data());
        }
        encode_part(part, n, coordinates.data() + q.blocks[size_t(part.block)].begin, q.axes_stride, beam,
                    codes, checkpoint);
    }
}

void Encoder::encode_part(const Part& part, size_t n, const float* x, size_t ldx, size_t beam, int32_t* codes,
                          Checkpoint& checkpoint) const {
    const size_t d = part.encoder.quantizer().d, M = part.levels.size();
    std::vector<float> own(n * d);
    for (size_t i = 0; i < n; i++) std::copy_n(x + i * ldx, d, &own[i * d]);
    std::vector<int32_t> chosen(n * M);
    part.encoder.encode(n, own.data(), beam, chosen.data(), checkpoint);
    for (size_t i = 0; i < n; i++)
        for (size_t m = 0; m < M; m++) codes[i * quantizer_->levels() + part.levels[m]] = chosen[i * M + m];
}

void Encoder::subtract(const Part& part, size_t n, const int32_t* codes, float* x) const {
    const size_t d = quantizer_->d, M = quantizer_->levels();
    for (size_t i = 0; i < n; i++)
        for (size_t m : part.levels) {
            const float* codeword = quantizer_->base(m).rows.data() + size_t(codes[i * M + m]) * d;
            const float scale = quantizer_->scale[m];
            for (size_t j = 0; j < d; j++) x[i * d + j] -= scale * codeword[j];
        }
}

void code_sums(size_t n, size_t d, const float* x, size_t M, size_t K, const int32_t* codes, double* sums,
               const Executor& executor) {
    // One level per task: a sum never depends on the number of threads.
    parallel_for(executor, M, [&](size_t m, Checkpoint& checkpoint) {
        double* level = sums + m * K * d;
        std::fill(level, level + K * d, 0);
        for (size_t i = 0; i < n; i++) {
            double* sum = level + size_t(codes[i * M + m]) * d;
            for (size_t j = 0; j < d; j++) sum[j] += x[i * d + j];
            checkpoint.pass(d);
        }
    });
}

}  // namespace drq
