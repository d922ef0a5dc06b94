// What every instruction-set level provides, and which level is active.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace drq::simd {

enum class Level { Scalar, Avx2, Avx512 };

struct ScanBlock;
struct ScanQuery;

/// The functions of one SIMD level. All levels give the same bits: no FMA, no reassociation.
struct Kernels {
    const char* name;

    /// out[i][k] = Σ_j x[i][j] · columns[j][k] for i < n, k < stride, summed in the order of j.
    /// x: (n, d) rows ldx apart; columns: (d, stride), stride a multiple of 16; out: rows ldo apart.
    void (*products)(size_t n, size_t d, const float* x, size_t ldx, size_t stride, const float* columns, float* out,
                     size_t ldo);
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
