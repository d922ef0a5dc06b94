// The avx2 level.
#include <immintrin.h>

#include "core/simd/levels.h"

#pragma GCC target("avx2")

namespace drq::simd::avx2 {

namespace {

typedef float Lane __attribute__((vector_size(32)));
typedef Lane UnalignedLane __attribute__((aligned(4), may_alias));
constexpr int kTileRows = 3, kTileVectors = 4;

#include "core/simd/products.inl"

}  // namespace

const Kernels& kernels() {
    static const Kernels table{"avx2", products};
    return table;
}

}  // namespace drq::simd::avx2
