// Vectors in, codes and results out, wherever FAISS's objects keep them: for the plug-in, which knows
// addresses, and for C++ programs, which have FAISS's headers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "core/database.h"
#include "core/encode/encoder.h"
#include "core/executor.h"

namespace drq {

/// Which of n vectors x (n, d) is not finite; empty if all are. It would get an arbitrary code and turn up in
/// results.
inline std::string not_finite(size_t n, size_t d, const float* x) {
    for (size_t i = 0; i < n * d; i++)
        if (!std::isfinite(x[i]))
            return "vector " + std::to_string(i / d) + " holds " + std::to_string(x[i]) +
                   ", expected finite values";
    return "";
}

/// Encodes n vectors x (n, d) and calls pack(begin, count, codes) for one batch after the other.
template <class Pack>
void encode_in_batches(const Encoder& encoder, size_t n, const float* x, int beam, const Executor& executor,
                       const Pack& pack) {
    constexpr size_t kBatch = 65536;  // bounds the unpacked codes
    std::vector<int32_t> codes(std::min(n, kBatch) * encoder.quantizer().levels());
    for (size_t begin = 0; begin < n; begin += kBatch) {
        if (begin) executor.check_interrupt();
        const size_t count = std::min(kBatch, n - begin);
        encoder.encode(count, x + begin * encoder.quantizer().d, beam, codes.data(), executor);
        pack(begin, count, codes.data());
    }
}

/// Fills a faiss::RangeSearchResult: counts go into lims, allocate() turns them into offsets, makes room and
/// returns labels and distances.
template <class Allocate>
void write_ranges(const std::vector<std::vector<Neighbour>>& found, size_t* lims, const Allocate& allocate) {
    for (size_t i = 0; i < found.size(); i++) lims[i] = found[i].size();
    const auto [labels, distances] = allocate();
    for (size_t i = 0; i < found.size(); i++)
        for (size_t j = 0; j < found[i].size(); j++) {
            labels[lims[i] + j] = found[i][j].id;
            distances[lims[i] + j] = found[i][j].distance;
        }
}

/// The members among n rows, a bit for each.
template <class IsMember>
std::vector<uint8_t> bitmap_of(size_t n, const IsMember& is_member) {
    std::vector<uint8_t> bitmap((n + 7) / 8);
    for (size_t i = 0; i < n; i++)
        if (is_member(int64_t(i))) bitmap[i / 8] |= uint8_t(1 << i % 8);
    return bitmap;
}

}  // namespace drq
