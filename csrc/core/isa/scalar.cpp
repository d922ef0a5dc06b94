// The scalar level: plain C++, the reference for the others.
#include "core/isa/targets.h"

namespace drq::isa::scalar {

namespace {

typedef float Lane __attribute__((vector_size(16)));
typedef Lane UnalignedLane __attribute__((aligned(4), may_alias));
typedef int32_t Mask __attribute__((vector_size(16)));
constexpr int kTileRows = 2, kTileVectors = 4;

inline uint32_t mask_bits(Mask mask) {
#ifdef __SSE2__
    return uint32_t(__builtin_ia32_movmskps(Lane(mask)));
#else
    const Mask bits = mask & Mask{1, 2, 4, 8};
    return uint32_t(bits[0] | bits[1] | bits[2] | bits[3]);
#endif
}

#include "core/isa/generic/beam.inl"
#include "core/isa/generic/norms.inl"
#include "core/isa/generic/products.inl"

void transpose(size_t n, const uint8_t* rows, size_t pitch, uint8_t* columns, size_t stride) {
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 8; c++) columns[c * stride + i] = rows[i * pitch + c];
}

void translate(size_t n, const uint8_t* table, uint8_t* bytes) {
    for (size_t i = 0; i < n; i++) bytes[i] = table[bytes[i]];
}

}  // namespace

const Kernels& kernels() {
    static const Kernels table = [] {
        Kernels kernels{};
        kernels.transpose = transpose;
        kernels.translate = translate;
        add_beam(kernels);
        add_norms(kernels);
        add_products(kernels);
        return kernels;
    }();
    return table;
}

}  // namespace drq::isa::scalar
