// A query while blocks are scanned: its exact distances, and the integer scores that prune.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/isa/scan_block.h"
#include "core/luts.h"
#include "core/scan/collectors.h"
#include "core/scan/differences.h"

namespace drq {

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
struct ScanQuery : ScoreQuery {
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

    // What the threshold is made of.
    double unit = 1, per_unit = 1, offset = 0, slope = 0;  ///< per_unit: 1 / unit
    int32_t lowest_threshold = 0, highest_threshold = 0;
    double spread = 0;  ///< by how many units the scores of two vectors with one key can differ

    /// No vector whose expanded key is larger can enter the result.
    float reach = std::numeric_limits<float>::infinity();

    /// The largest share of its terms for which a key is summed up from differences.
    static constexpr float kCancelled = 1.f / 16;

    /// Σ of the table entries of a code's first levels.
    template <class CodeOf>
    float sum(size_t levels, const CodeOf& code_of) const {
        return sum_of_entries(levels, lut, lut_offsets, lut_scales, code_of);
    }

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
