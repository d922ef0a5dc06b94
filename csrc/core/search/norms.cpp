#include "core/search/norms.h"

#include <algorithm>

#include "core/isa/kernels.h"

namespace drq {

float ReconstructionNorm::operator()(const int32_t* code, const float* other) {
    for (size_t m = 0; m < codewords_.size(); m++)
        codewords_[m] = quantizer_.base(m).rows.data() + size_t(code[m]) * quantizer_.d;
    return isa::active().weighted_sum_norm(quantizer_.d, codewords_.size(), codewords_.data(),
                                           quantizer_.scale.data(), other);
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
