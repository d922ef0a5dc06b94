// The avx2 level.
#include <immintrin.h>

#include "core/simd/levels.h"

#pragma GCC target("avx2")

namespace drq::simd::avx2 {

namespace {

typedef float Lane __attribute__((vector_size(32)));
typedef Lane UnalignedLane __attribute__((aligned(4), may_alias));
typedef int32_t Mask __attribute__((vector_size(32)));
constexpr int kTileRows = 3, kTileVectors = 4;

inline uint32_t mask_bits(Mask mask) { return uint32_t(_mm256_movemask_ps((__m256)mask)); }

#include "core/simd/beam.inl"
#include "core/simd/products.inl"

}  // namespace

const Kernels& kernels() {
    static const Kernels table{"avx2", products, update_table, collect, rank_bound};
    return table;
}

}  // namespace drq::simd::avx2
