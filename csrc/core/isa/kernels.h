// What every instruction-set level provides, and which level is active.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/isa/scan_block.h"

namespace drq::isa {

/// The instruction-set levels of this architecture by number, each more able than the one before.
enum class Target { Scalar };

/// A partial code of beam search: codeword `codeword` appended to the kept partial code `parent`.
struct Candidate {
    float gain;  ///< by how much the squared error falls
    int32_t parent;
    int32_t codeword;
};

/// A level of beam search. Codeword k, appended to a partial code with table <residual, C[k]>, gains
/// `gain of the partial code` + weight · (table[k] − half_norms[k]).
struct BeamLevel {
    size_t stride;            ///< K rounded up to a multiple of 16
    const float* half_norms;  ///< (stride) ½ s ‖C[k]‖², infinite in the padding
    float weight;             ///< 2 s
};

/// Σ of rows · scales, some of which have coordinates in a part only.
struct SumOfRows {
    /// The coordinates from the part before on. All but the last end at a multiple of 16, and so does one
    /// with rows of its own.
    struct Part {
        size_t end;
        size_t rows;  ///< that have no other coordinates
    };
    size_t whole;              ///< rows that have all coordinates: they come first
    const float* const* rows;  ///< then those of one part after the other
    const float* scales;
    size_t n_parts;
    const Part* parts;
};

/// What looks at the candidates of a query: the set bits of `words` masks of vectors from `first` on. It may
/// raise the query's threshold.
using Rescore = void (*)(ScoreQuery& query, const ScanBlock& block, size_t first, const uint64_t* masks,
                         size_t words);

/// The functions of one instruction set. All levels give the same bits: no FMA, no reassociation.
struct Kernels {
    /// out[i][k] = Σ_j x[i][j] · columns[j][k] for i < n, k < stride, summed in the order of j.
    /// x: (n, d) rows ldx apart; columns: (d, stride), stride a multiple of 16; out: rows ldo apart.
    void (*products)(size_t n, size_t d, const float* x, size_t ldx, size_t stride, const float* columns,
                     float* out, size_t ldo);

    /// ⟨S, S + other⟩ of a sum S; ‖S‖² where `other` is null.
    float (*norm_of_sum)(const SumOfRows& sum, const float* other);

    /// One kept partial code: out = table − Σ_i weights[i] · rows[i] (rows of `stride` floats) and
    /// maxima[l] = the largest gain of the codewords k ≡ l (mod 16). Returns the largest of all.
    float (*update_table)(const BeamLevel& level, float gain, const float* table, size_t n_rows,
                          const float* const* rows, const float* weights, float* out, float* maxima);

    /// Writes the codewords whose gain is ≥ threshold, ascending, to candidates (room for `stride`); returns
    /// how many.
    size_t (*collect)(const BeamLevel& level, float gain, const float* table, float threshold, int32_t parent,
                      Candidate* candidates);

    /// A lower bound on the rank-th largest of n values, n a multiple of 16; exact unless values are equal.
    /// The work grows with n · rank.
    float (*rank_bound)(size_t n, const float* values, size_t rank);

    /// n rows of 8 bytes, `pitch` bytes apart, as 8 columns of n bytes, `stride` apart; n a multiple of 32.
    void (*transpose)(size_t n, const uint8_t* rows, size_t pitch, uint8_t* columns, size_t stride);

    /// Scores vectors [begin, end) of a block, multiples of 64, for `count` queries by an unsigned byte table
    /// per level; scores are start16 + Σ of the entries. Bit i of above[q] says that vector begin + i's score
    /// is above the threshold of query q. Null: no such kernel.
    void (*score_bytes)(const ScanBlock& block, size_t begin, size_t end, ScoreQuery* const* queries,
                        size_t count, ByteTables tables, uint64_t* const* above);

    /// A table for score_bytes: n values, none below `low`, as (value − low) · per_unit, at most 255. Null
    /// where that is.
    void (*to_bytes)(size_t n, const float* values, float low, float per_unit, uint8_t* out);

    /// The scores of all vectors of a block for one query, up to the next multiple of 64 (the lowest number
    /// beyond the block's end), in the order of start16. Null where score_bytes is.
    void (*byte_scores)(const ScanBlock& block, const ScoreQuery& query, ByteTables tables, int16_t* scores);

    /// Bit i of `above`: vector i's score, from byte_scores, is above the threshold; n a multiple of 64.
    void (*scores_above)(size_t n, const int16_t* scores, int16_t threshold, uint64_t* above);

    /// Whether smaller tables, of bounds, are so much faster that they pay for more candidates.
    bool bounds_pay;

    /// Replaces each of n bytes, n a multiple of 64, by its entry in a table of 256.
    void (*translate)(size_t n, const uint8_t* table, uint8_t* bytes);

    /// start16 of a block for score_bytes: −(norm − lowest) · per_unit, rounded up. Null where that is.
    void (*start16)(size_t n, const float* norms, float lowest, float per_unit, int16_t* start);

    /// Hands a block's candidates on for `count` queries by one signed 256-byte table each; scores are
    /// start + Σ weights[m] · table[code]. Blocks have groups of 4 levels. Null: no such kernel.
    void (*scan_shared)(const ScanBlock& block, ScoreQuery* const* queries, size_t count, Rescore rescore);

    /// As start16, in order, for scan_shared. Null where scan_shared is.
    void (*start32)(size_t n, const float* norms, float lowest, float per_unit, int32_t* start);

    /// Packs n rows of byte codes for scan_shared: out[g][i] = the row's levels 4 g .. 4 g + 3, planes 4 ·
    /// stride bytes apart. Null where scan_shared is.
    void (*pack_groups)(size_t n, const uint8_t* rows, size_t code_size, size_t levels, uint8_t* out,
                        size_t stride);
};

/// Kernels of the active level: the best this machine has, or DRQFAISS_SIMD, or set_target().
const Kernels& active();

/// The highest level this machine can run.
Target best_target();
Target active_target();

/// Throws std::invalid_argument if this machine cannot run it.
void set_target(Target target);

const char* target_name(Target target);

/// The level of this name, upper or lower case; throws std::invalid_argument naming what is allowed.
Target parse_target(const std::string& name);

}  // namespace drq::isa
