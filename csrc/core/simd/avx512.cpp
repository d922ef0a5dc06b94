// The avx512 level.
#include <immintrin.h>

#include "core/simd/levels.h"

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")

namespace drq::simd::avx512 {

namespace {

typedef float Lane __attribute__((vector_size(64)));
typedef Lane UnalignedLane __attribute__((aligned(4), may_alias));
constexpr int kTileRows = 6, kTileVectors = 4;

#include "core/simd/products.inl"

}  // namespace

const Kernels& kernels() {
    static const Kernels table{"avx512", products};
    return table;
}

}  // namespace drq::simd::avx512
