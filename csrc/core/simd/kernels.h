// What every instruction-set level provides, and which level is active.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace drq::simd {

enum class Level { Scalar, Avx2, Avx512 };

struct ScanBlock;
struct ScanQuery;

/// A partial code of beam search: codeword `codeword` appended to the kept partial code `parent`.
struct Candidate {
    float gain;  ///< by how much the squared error falls
    int32_t parent;
    int32_t codeword;
};

/// The functions of one SIMD level. All levels give the same bits: no FMA, no reassociation.
struct Kernels {
    const char* name;

    /// out[i][k] = Σ_j x[i][j] · columns[j][k] for i < n, k < stride, summed in the order of j.
    /// x: (n, d) rows ldx apart; columns: (d, stride), stride a multiple of 16; out: rows ldo apart.
    void (*products)(size_t n, size_t d, const float* x, size_t ldx, size_t stride, const float* columns, float* out,
                     size_t ldo);

    /// Beam search, one kept partial code: out = table − Σ_i weights[i] · rows[i], and
    /// maxima[l] = max of out[k] − half_norms[k] over k ≡ l (mod 16). All rows: `stride` floats.
    void (*update_table)(size_t stride, const float* table, size_t n_rows, const float* const* rows,
                         const float* weights, const float* half_norms, float* out, float* maxima);

    /// Writes the codewords with gain + weight · (table[k] − half_norms[k]) ≥ threshold, ascending; returns how
    /// many. `candidates` has room for `stride`.
    size_t (*collect)(size_t stride, const float* table, const float* half_norms, float weight, float gain,
                      float threshold, int32_t parent, Candidate* candidates);

    /// A lower bound on the rank-th largest of n values, n a multiple of 16; exact unless values are equal.
    /// Overwrites the values; its work grows with n · rank.
    float (*rank_bound)(size_t n, float* values, size_t rank);
};

/// Kernels of the active level: the best this machine has, or DRQFAISS_SIMD, or set_level().
const Kernels& active();

/// The highest level this machine can run.
Level best_level();
Level active_level();

/// Throws std::invalid_argument if this machine cannot run it.
void set_level(Level level);

const char* level_name(Level level);

/// "scalar", "avx2" or "avx512"; throws std::invalid_argument naming what is allowed.
Level parse_level(const std::string& name);

}  // namespace drq::simd
