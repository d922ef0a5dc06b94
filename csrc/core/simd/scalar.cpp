// The scalar level: plain C++, the reference for the others.
#include <emmintrin.h>

#include "core/simd/levels.h"

namespace drq::simd::scalar {

namespace {

typedef float Lane __attribute__((vector_size(16)));
typedef Lane UnalignedLane __attribute__((aligned(4), may_alias));
typedef int32_t Mask __attribute__((vector_size(16)));
constexpr int kTileRows = 2, kTileVectors = 4;

inline uint32_t mask_bits(Mask mask) { return uint32_t(_mm_movemask_ps((__m128)mask)); }

#include "core/simd/beam.inl"
#include "core/simd/norms.inl"
#include "core/simd/products.inl"

}  // namespace

const Kernels& kernels() {
    static const Kernels table{products, weighted_sum_norm, update_table, collect, rank_bound,
                               nullptr,  nullptr,           nullptr,      nullptr, nullptr};
    return table;
}

}  // namespace drq::simd::scalar
