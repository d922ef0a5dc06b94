// The AVX2 level: byte tables of 16 entries per shuffle, combined by the codes' high bits.
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
#include "core/simd/norms.inl"
#include "core/simd/products.inl"

using Bytes = __m256i;

Bytes load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
Bytes add16(Bytes a, Bytes b) { return _mm256_add_epi16(a, b); }
Bytes sub16(Bytes a, Bytes b) { return _mm256_sub_epi16(a, b); }
Bytes shift_left_byte(Bytes a) { return _mm256_slli_epi16(a, 8); }
Bytes shift_right_byte(Bytes a) { return _mm256_srli_epi16(a, 8); }
Bytes broadcast16(int32_t value) { return _mm256_set1_epi16(int16_t(value)); }

/// Bit i: 16-bit value i is above the threshold, even values in one register and odd ones in the other.
uint64_t above16(Bytes even, Bytes odd, Bytes threshold) {
    const Bytes low = _mm256_srli_epi16(_mm256_cmpgt_epi16(even, threshold), 8);
    const Bytes high = _mm256_slli_epi16(_mm256_cmpgt_epi16(odd, threshold), 8);
    return uint32_t(_mm256_movemask_epi8(_mm256_or_si256(low, high)));
}

Bytes sixteen_entries(const uint8_t* table, int part) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table) + part));
}

/// Two registers of codes on their way through a table of more than 16 entries.
struct Codes2 {
    Bytes codes[2];
    Bytes even[2], odd[2];  ///< shuffle indices: zero where bit 4 of the code says the other part
};

/// Entries of parts 2·pair and 2·pair + 1, chosen by bit 4: the shuffle itself writes zero for the other
/// part.
inline void lookup_pair(const uint8_t* table, int pair, const Codes2& c, Bytes* out) {
    const Bytes low = sixteen_entries(table, 2 * pair), high = sixteen_entries(table, 2 * pair + 1);
    for (int i = 0; i < 2; i++)
        out[i] = _mm256_or_si256(_mm256_shuffle_epi8(low, c.even[i]), _mm256_shuffle_epi8(high, c.odd[i]));
}

/// Entries of 2^(bits − 4) parts from `part` on: a tree of selections, the highest bit last.
template <int bits>
inline void lookup_tree(const uint8_t* table, int part, const Codes2& c, Bytes* out) {
    if constexpr (bits == 5) {
        lookup_pair(table, part / 2, c, out);
    } else {
        Bytes low[2], high[2];
        lookup_tree<bits - 1>(table, part, c, low);
        lookup_tree<bits - 1>(table, part + (1 << (bits - 5)), c, high);
        for (int i = 0; i < 2; i++)  // bit `bits − 1` of the code moves to the byte's sign
            out[i] = _mm256_blendv_epi8(low[i], high[i], _mm256_slli_epi16(c.codes[i], 8 - bits));
    }
}

template <int kBits>
inline void lookup(const uint8_t* table, Bytes a, Bytes b, Bytes* out) {
    if constexpr (kBits == 4) {
        const Bytes entries = sixteen_entries(table, 0);
        out[0] = _mm256_shuffle_epi8(entries, a);
        out[1] = _mm256_shuffle_epi8(entries, b);
    } else {
        Codes2 c{{a, b}, {}, {}};
        const Bytes sign = _mm256_set1_epi8(-128), low_bits = _mm256_set1_epi8(15);
        for (int i = 0; i < 2; i++) {
            const Bytes other = _mm256_and_si256(_mm256_slli_epi16(c.codes[i], 3), sign);
            c.even[i] = _mm256_or_si256(_mm256_and_si256(c.codes[i], low_bits), other);
            c.odd[i] = _mm256_xor_si256(c.even[i], sign);
        }
        lookup_tree<kBits>(table, 0, c, out);
    }
}

#include "core/simd/scan_bytes.inl"

}  // namespace

const Kernels& kernels() {
    static const Kernels table{products,   weighted_sum_norm, update_table, collect, rank_bound,
                               scan_bytes, start16,           nullptr,      nullptr, nullptr};
    return table;
}

}  // namespace drq::simd::avx2
