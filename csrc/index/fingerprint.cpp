#include "index/fingerprint.h"

#include <algorithm>
#include <cstring>

namespace drq {

uint64_t hash_of(const void* data, size_t bytes) {
    constexpr size_t kLanes = 8;  // independent ones, so that none waits for another's multiplication
    constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;
    const auto* from = static_cast<const uint8_t*>(data);
    uint64_t lanes[kLanes] = {1, 2, 3, 4, 5, 6, 7, 8};
    const auto add = [&](const uint64_t* words) {
        for (size_t l = 0; l < kLanes; l++) {
            lanes[l] = (lanes[l] ^ words[l]) * kFactor;
            lanes[l] ^= lanes[l] >> 32;
        }
    };
    uint64_t words[kLanes];
    size_t i = 0;
    for (; i + sizeof words <= bytes; i += sizeof words) {
        std::memcpy(words, from + i, sizeof words);
        add(words);
    }
    if (i < bytes) {
        std::fill_n(words, kLanes, 0);
        std::memcpy(words, from + i, bytes - i);
        add(words);
    }
    uint64_t hash = bytes;
    for (const uint64_t lane : lanes) hash = ((hash ^ lane) * kFactor) ^ (hash >> 29);
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
