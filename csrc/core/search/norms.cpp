#include "core/search/norms.h"

#include <algorithm>

#include "core/isa/kernels.h"

namespace drq {

void reconstruction_norms(const Quantizer& quantizer, const Codes& codes, size_t levels, size_t begin,
                          size_t end, float* out, const Executor& executor) {
    constexpr size_t kBatch = 1024;
    parallel_for(executor, (end - begin + kBatch - 1) / kBatch, [&](size_t batch, Checkpoint&) {
        const size_t first = begin + batch * kBatch, n = std::min(kBatch, end - first);
        std::vector<int32_t> code(n * levels);
        unpack_codes(quantizer, codes, first, n, levels, code.data());
        std::vector<const float*> codewords(levels);
        for (size_t i = 0; i < n; i++) {
            for (size_t m = 0; m < levels; m++)
                codewords[m] = quantizer.base(m).rows.data() + size_t(code[i * levels + m]) * quantizer.d;
            out[first - begin + i] = isa::active().weighted_sum_norm(quantizer.d, levels, codewords.data(),
                                                                     quantizer.scale.data());
        }
    });
}

}  // namespace drq
