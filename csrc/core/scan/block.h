// A scan goes block by block: codes repacked into planes, then each query looks at every vector of the block.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "core/quantizer.h"
#include "core/scan/collectors.h"
#include "core/scan/differences.h"

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
    int wide_bits = 0;  ///< of each level there

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
    int64_t id(size_t i) const { return ids ? id_at(ids, i) : first_id + int64_t(i); }
};

/// The byte tables of a query, one per level, each of 2^bits entries.
struct ByteTables {
    int bits = 8;  ///< 4 to 8

    /// How many bits of an 8-bit code, from bit 4 on, do not count: codewords that differ in no other have
    /// one entry, which bounds all of theirs. Bit 4, as AVX2's shuffles take bits 0 to 3 and 7 as they are.
    int dropped = 0;
};

/// One query during a scan.
///
/// A vector's key is the smaller the nearer it is. Of L2 it is square + norm − 2 Σ, of one level's table
/// entry after the other, unless that is small against its three terms (`cancels`): then it is the sum of
/// squared differences. Which of the two depends on nothing but query and vector.
///
/// Error analysis, with u = 2⁻²⁴: float rounding moves the expanded key by some u times the terms, in the
/// mean (products of d numbers with rounding errors of random sign). With kCancelled = 1/16 a key that counts
/// is thus right but for some 16 u, 10⁻⁶, of itself; a sum of differences is right but for as much as moving
/// every coordinate of query and codewords by some u of itself would change it.
struct ScanQuery {
    // The exact distance.
    const float* lut = nullptr;           ///< float tables, see LutLayout
    const size_t* lut_offsets = nullptr;  ///< (levels)
    const float* lut_scales = nullptr;    ///< (levels)
    float square = 0;                     ///< ‖q − shift‖², L2
    float bias = 0;                       ///< ⟨q, shift⟩, inner product
    bool l2 = true;
    Sink* sink = nullptr;

    // L2: the distance by differences. `stray` is a bound on how far the two kinds of keys are apart, for all
    // of the query's vectors.
    const Differences* differences = nullptr;
    Point point;
    double stray = 0;

    /// What keys are multiplied by to be the sink's, a power of two: see Quantizer::unit.
    double key_unit = 1;

    // The integer score that prunes: a vector whose score is not above `threshold` cannot enter the result.
    const uint8_t* tables = nullptr;   ///< byte tables, one after the other
    const uint8_t* weights = nullptr;  ///< (levels, padded to a multiple of 4); shared table only
    double unit = 1, per_unit = 1, offset = 0, slope = 0;  ///< per_unit: 1 / unit
    int32_t threshold = 0;
    int32_t lowest_threshold = 0, highest_threshold = 0;
    double spread = 0;  ///< by how many units the scores of two vectors with one key can differ

    /// No vector whose expanded key is larger can enter the result.
    float reach = std::numeric_limits<float>::infinity();

    /// The largest share of its terms for which a key is summed up from differences.
    static constexpr float kCancelled = 1.f / 16;

    /// Smaller is nearer: the squared distance or the negated inner product, from Σ of the level's entries.
    float expanded_key(float sum, float norm) const { return l2 ? square + (norm - 2 * sum) : -(sum + bias); }

    bool cancels(float key, float sum, float norm) const {
        return l2 && !(key >= kCancelled * (std::fabs(square) + std::fabs(norm) + 2 * std::fabs(sum)));
    }

    /// The key of a vector as sinks take it, from what its code's table entries add up to, and its codes;
    /// infinite or NaN if it is no number that floats can hold.
    template <class CodeOf>
    float key(float sum, float norm, const CodeOf& code_of) const {
        float key = expanded_key(sum, norm);
        if (__builtin_expect(cancels(key, sum, norm), 0)) key = differences->square(point, code_of);
        return float(key * key_unit);
    }

    /// The threshold that vectors with expanded keys of at most `key` are above.
    int32_t threshold_at(double key) const;

    /// Moves threshold and reach to the sink's bound.
    void refresh();
};

}  // namespace drq
