// The scalar level: plain C++, the reference for the others.
#include "core/simd/levels.h"

namespace drq::simd::scalar {

namespace {

typedef float Lane __attribute__((vector_size(16)));
typedef Lane UnalignedLane __attribute__((aligned(4), may_alias));
constexpr int kTileRows = 2, kTileVectors = 4;

#include "core/simd/norms.inl"
#include "core/simd/products.inl"

}  // namespace

const Kernels& kernels() {
    static const Kernels table{"scalar", products, weighted_sum_norm, nullptr, 0, nullptr};
    return table;
}

}  // namespace drq::simd::scalar
