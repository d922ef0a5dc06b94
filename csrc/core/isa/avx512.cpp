// The AVX-512 level: tables of 256 bytes live in four registers and one permute looks up 64 codes in half of
// them.
#ifdef __x86_64__
#ifdef DRQ_EMULATE_AVX512  // for tests on CPUs without it, see `make test-avx512`
#include <emulated_avx512.h>
#else
#include <immintrin.h>
#endif

#include <cstring>
#include <limits>

#include "core/isa/targets.h"

#ifndef DRQ_EMULATE_AVX512
#ifndef __clang__
// g++ 12 takes the "undefined" operands inside its own intrinsics for uninitialized variables (GCC bug
// 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
DRQ_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")
#endif

namespace drq::isa::avx512 {

namespace {

typedef float Lane __attribute__((vector_size(64)));
typedef Lane UnalignedLane __attribute__((aligned(4), may_alias));
typedef int32_t Mask __attribute__((vector_size(64)));
constexpr int kTileRows = 6, kTileVectors = 4;

inline uint32_t mask_bits(Mask mask) { return uint32_t(_mm512_movepi32_mask((__m512i)mask)); }

#include "core/isa/generic/beam.inl"
#include "core/isa/generic/norms.inl"
#include "core/isa/generic/products.inl"

using Bytes = __m512i;
using ByteMask = uint64_t;

Bytes load_bytes(const void* p) { return _mm512_loadu_si512(p); }
void store_bytes(void* p, Bytes a) { _mm512_storeu_si512(p, a); }
Bytes add16(Bytes a, Bytes b) { return _mm512_add_epi16(a, b); }
Bytes sub16(Bytes a, Bytes b) { return _mm512_sub_epi16(a, b); }
Bytes shift_left_byte(Bytes a) { return _mm512_slli_epi16(a, 8); }
Bytes shift_right_byte(Bytes a) { return _mm512_srli_epi16(a, 8); }
Bytes broadcast16(int32_t value) { return _mm512_set1_epi16(int16_t(value)); }

/// Bit i: 16-bit value i is above the threshold, even values in one register and odd ones in the other.
uint64_t above16(Bytes even, Bytes odd, Bytes threshold) {
    const __mmask32 low = _mm512_cmpgt_epi16_mask(even, threshold),
                    high = _mm512_cmpgt_epi16_mask(odd, threshold);
    if (__builtin_expect((low | high) == 0, 1)) return 0;
    const Bytes both =
        _mm512_or_si512(_mm512_maskz_set1_epi16(low, 0x0080), _mm512_maskz_set1_epi16(high, -0x8000));
    return _mm512_movepi8_mask(both);
}

/// 64 values as 16-bit words: the even ones in one register, the odd ones in the next.
void split16(const int32_t* values, int16_t* out) {
    const auto load = [&](int i) { return load_bytes(values + 16 * i); };
    const Bytes even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const Bytes lanes = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);  // packing takes 128 bits of each in turn
    for (int odd = 0; odd < 2; odd++) {
        const Bytes chosen = _mm512_add_epi32(even, _mm512_set1_epi32(odd));
        const Bytes low = _mm512_permutex2var_epi32(load(0), chosen, load(1));
        const Bytes high = _mm512_permutex2var_epi32(load(2), chosen, load(3));
        store_bytes(out + 32 * odd, _mm512_permutexvar_epi64(lanes, _mm512_packs_epi32(low, high)));
    }
}

/// A table of 256 bytes in registers.
struct Table256 {
    Bytes part[4];

    void load(const uint8_t* table) {
        for (int i = 0; i < 4; i++) part[i] = _mm512_loadu_si512(table + 64 * i);
    }

    /// `high`: which codes are 128 or more. Each permute leaves the codes that are not its own as they are.
    Bytes lookup(Bytes codes, __mmask64 high) const {
        const Bytes upper = _mm512_mask2_permutex2var_epi8(part[2], codes, high, part[3]);
        return _mm512_mask2_permutex2var_epi8(part[0], upper, ~high, part[1]);
    }
};

/// Codes on their way through tables of 2^bits entries, none of them bounds.
template <int kBits, int kDropped>
struct Index {
    static_assert(kDropped == 0);

    Bytes codes;

    explicit Index(Bytes codes) : codes(codes) {}

    Bytes lookup(const uint8_t* table) const {
        if constexpr (kBits == 8) {
            Table256 whole;
            whole.load(table);
            return whole.lookup(codes, _mm512_movepi8_mask(codes));
        } else if constexpr (kBits == 7) {
            return _mm512_permutex2var_epi8(load_bytes(table), codes, load_bytes(table + 64));
        } else if constexpr (kBits == 6) {
            return _mm512_permutexvar_epi8(codes, load_bytes(table));
        } else if constexpr (kBits == 5) {
            const __m256i entries = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(table));
            return _mm512_permutexvar_epi8(codes, _mm512_broadcast_i64x4(entries));
        } else {
            const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
            return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(entries), codes);
        }
    }
};

constexpr bool kBounds = false;

#include "core/isa/generic/bytes.inl"
#include "core/isa/generic/pack_groups.inl"
#include "core/isa/generic/shared.inl"
#include "core/isa/generic/transpose.inl"

}  // namespace

const Kernels& kernels() {
    static const Kernels table = [] {
        Kernels kernels{};
        add_beam(kernels);
        add_norms(kernels);
        add_products(kernels);
        add_bytes(kernels);
        add_transpose(kernels);
        add_shared(kernels);
        add_pack_groups(kernels);
        return kernels;
    }();
    return table;
}

}  // namespace drq::isa::avx512

#ifndef DRQ_EMULATE_AVX512
DRQ_TARGET_END
#endif
#endif
