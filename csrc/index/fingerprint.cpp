#include "index/fingerprint.h"

#include <algorithm>
#include <cstring>

namespace drq {

uint64_t hash_of(const void* data, size_t bytes) {
    constexpr size_t kLanes = 8;  // independent ones, so that none waits for another's multiplication
    const auto* from = static_cast<const uint8_t*>(data);
    uint64_t lanes[kLanes] = {1, 2, 3, 4, 5, 6, 7, 8};
    const auto add = [&](const uint8_t* words) {
#pragma GCC unroll 8  // keeps the lanes in registers, whatever the level of optimization
        for (size_t l = 0; l < kLanes; l++) {
            uint64_t word;
            std::memcpy(&word, words + l * sizeof word, sizeof word);
            lanes[l] = with_word(lanes[l], word);
        }
    };
    size_t i = 0;
    for (; i + sizeof lanes <= bytes; i += sizeof lanes) add(from + i);
    if (i < bytes) {
        uint8_t rest[sizeof lanes] = {};
        std::memcpy(rest, from + i, bytes - i);
        add(rest);
    }
    uint64_t hash = bytes;
    for (const uint64_t lane : lanes) hash = with_word(hash, lane);
    return hash;
}

uint64_t sample_of(const void* data, size_t size, size_t count, size_t pieces) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    pieces = std::min(pieces, count);
    uint64_t hash = count;
    for (size_t i = 0; i < pieces; i++) {
        const uint8_t* piece = bytes + (pieces > 1 ? i * (count - 1) / (pieces - 1) : 0) * size;
        for (size_t j = 0; j < size; j += sizeof(uint64_t)) {
            uint64_t word = 0;
            std::memcpy(&word, piece + j, std::min(size - j, sizeof word));
            hash = with_word(hash, word);
        }
    }
    return hash;
}

uint64_t Fingerprint::hash_of_window(const void* data, size_t window) const {
    const size_t begin = window * kWindow;
    return hash_of(static_cast<const uint8_t*>(data) + begin, std::min(kWindow, bytes_ - begin));
}

void Fingerprint::extend(const void* data, size_t bytes) {
    if (bytes == bytes_) return;
    hashes_.resize(std::min(bytes, bytes_) / kWindow);  // a last window that was not full is read again
    bytes_ = bytes;
    while (hashes_.size() * kWindow < bytes_) hashes_.push_back(hash_of_window(data, hashes_.size()));
}

bool Fingerprint::unchanged(const void* data, bool all) {
    const size_t count = all ? hashes_.size() : std::min<size_t>(1, hashes_.size());
    for (size_t i = 0; i < count; i++) {
        if (next_ >= hashes_.size()) next_ = 0;
        if (hash_of_window(data, next_) != hashes_[next_]) return false;
        next_++;
    }
    return true;
}

}  // namespace drq
