// Notices that somebody wrote to memory that FAISS owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace drq {

/// A hash that has taken in one more word.
inline uint64_t with_word(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    return hash ^ (hash >> 32);
}

/// A hash of `bytes` bytes that reads eight or more of them per nanosecond.
uint64_t hash_of(const void* data, size_t bytes);

/// A hash of up to `pieces` of `count` pieces of `size` bytes, equally spaced, first and last included.
uint64_t sample_of(const void* data, size_t size, size_t count, size_t pieces);

/// What a stretch of memory held, as hashes of its windows. Checks take the windows in turn, as reading all
/// of a large stretch for a small call would be most of the call.
class Fingerprint {
  public:
    static constexpr size_t kWindow = 4096;  ///< bytes

    void clear() { *this = {}; }

    /// From now on the first `bytes` bytes count, of which those that counted already are as they were.
    void extend(const void* data, size_t bytes);

    /// Whether the next window, or with `all` every one, is as it was.
    bool unchanged(const void* data, bool all);

    size_t bytes() const { return bytes_; }

  private:
    uint64_t hash_of_window(const void* data, size_t window) const;

    size_t bytes_ = 0, next_ = 0;
    std::vector<uint64_t> hashes_;
};

}  // namespace drq
