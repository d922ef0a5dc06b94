// What kernels read: vectors repacked into planes, and the integer tables of a query.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/quantizer.h"

namespace drq {

/// ids[i] of a list. Lists mapped from a file have their ids at any address.
inline int64_t id_at(const int64_t* ids, size_t i) {
    int64_t id;
    std::memcpy(&id, reinterpret_cast<const uint8_t*>(ids) + i * sizeof(id), sizeof(id));
    return id;
}

/// Up to `stride` vectors, repacked so that a kernel reads whole registers of codes.
struct ScanBlock {
    size_t levels = 0;
    size_t n = 0;       ///< vectors; kernels may read (never report) up to the next multiple of kPad
    size_t stride = 0;  ///< vectors a plane has room for, a multiple of kPad

    /// Planes hold `group` (1 or 4) levels each: code(i, m) is at [m / group][i][m % group].
    size_t group = 1;
    const uint8_t* bytes = nullptr;   ///< levels of up to 8 bits
    const uint16_t* words = nullptr;  ///< instead of bytes when any level is wider; group is 1

    /// Rows of codes wider than a byte, whose groups `bytes` are (Renumbered). Null: bytes or words are
    /// codes.
    const Codes* wide_rows = nullptr;
    int wide_bits = 0;                  ///< of each level there
    const int64_t* wide_ids = nullptr;  ///< (n) which rows the vectors are; null: first_wide + i
    int64_t first_wide = 0;

    const float* norms = nullptr;  ///< (n), L2 only
    const int64_t* ids = nullptr;  ///< (n); null: first_id + i
    int64_t first_id = 0;

    /// What a vector's norm takes off its score in units of the queries' tables, rounded up: see Scorer.
    const int32_t* start = nullptr;    ///< (stride) in order
    const int16_t* start16 = nullptr;  ///< (stride) per register of 8-bit codes: even vectors, then odd ones

    static constexpr size_t kPad = 128;

    size_t code_offset(size_t i, size_t m) const {
        return (m / group) * group * stride + i * group + m % group;
    }
    size_t wide_row(size_t i) const { return size_t(wide_ids ? wide_ids[i] : first_wide + int64_t(i)); }
    int64_t id(size_t i) const { return ids ? id_at(ids, i) : first_id + int64_t(i); }
};

/// The byte tables of a query, one per level, each of 2^bits entries.
struct ByteTables {
    int bits = 8;  ///< 4 to 8

    /// How many bits of an 8-bit code, from bit 4 on, do not count: codewords that differ in no other have
    /// one entry, which bounds all of theirs. Bit 4, as AVX2's shuffles take bits 0 to 3 and 7 as they are.
    int dropped = 0;
};

/// The integer score of a query that prunes: a vector whose score is not above `threshold` cannot enter the
/// result.
struct ScoreQuery {
    const uint8_t* tables = nullptr;   ///< byte tables, one after the other
    const uint8_t* weights = nullptr;  ///< (levels, padded to a multiple of 4); shared table only
    int32_t threshold = 0;
};

}  // namespace drq
