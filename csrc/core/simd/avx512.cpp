// The avx512 level.
#include <immintrin.h>

#include "core/simd/levels.h"

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")

namespace drq::simd::avx512 {

namespace {

typedef float Lane __attribute__((vector_size(64)));
typedef Lane UnalignedLane __attribute__((aligned(4), may_alias));
typedef int32_t Mask __attribute__((vector_size(64)));
constexpr int kTileRows = 6, kTileVectors = 4;

inline uint32_t mask_bits(Mask mask) { return uint32_t(_mm512_movepi32_mask((__m512i)mask)); }

#include "core/simd/beam.inl"
#include "core/simd/products.inl"

}  // namespace

const Kernels& kernels() {
    static const Kernels table{"avx512", products, update_table, collect, rank_bound};
    return table;
}

}  // namespace drq::simd::avx512
