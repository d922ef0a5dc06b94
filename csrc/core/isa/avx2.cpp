// The AVX2 level: a shuffle looks up 32 codes in a table of 16 bytes.
#ifdef __x86_64__
#include <immintrin.h>

#include <cstring>
#include <limits>

#include "core/isa/targets.h"

DRQ_TARGET_BEGIN("avx2")

namespace drq::isa::avx2 {

namespace {

typedef float Lane __attribute__((vector_size(32)));
typedef Lane UnalignedLane __attribute__((aligned(4), may_alias));
typedef int32_t Mask __attribute__((vector_size(32)));
constexpr int kTileRows = 3, kTileVectors = 4;

inline uint32_t mask_bits(Mask mask) { return uint32_t(_mm256_movemask_ps((__m256)mask)); }

#include "core/isa/generic/beam.inl"
#include "core/isa/generic/norms.inl"
#include "core/isa/generic/products.inl"

using Bytes = __m256i;

using ByteMask = uint32_t;

Bytes load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void store_bytes(void* p, Bytes a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a); }
Bytes add16(Bytes a, Bytes b) { return _mm256_add_epi16(a, b); }
Bytes sub16(Bytes a, Bytes b) { return _mm256_sub_epi16(a, b); }
Bytes shift_left_byte(Bytes a) { return _mm256_slli_epi16(a, 8); }
Bytes shift_right_byte(Bytes a) { return _mm256_srli_epi16(a, 8); }
Bytes broadcast16(int32_t value) { return _mm256_set1_epi16(int16_t(value)); }

/// Bit i: 16-bit value i is above the threshold, even values in one register and odd ones in the other.
ByteMask above16(Bytes even, Bytes odd, Bytes threshold) {
    const Bytes low = _mm256_srli_epi16(_mm256_cmpgt_epi16(even, threshold), 8);
    const Bytes high = _mm256_slli_epi16(_mm256_cmpgt_epi16(odd, threshold), 8);
    return uint32_t(_mm256_movemask_epi8(_mm256_or_si256(low, high)));
}

/// 32 values as 16-bit words: the even ones in one register, the odd ones in the next.
void split16(const int32_t* values, int16_t* out) {
    const auto load = [&](int i) { return _mm256_castsi256_ps(load_bytes(values + 8 * i)); };
    const __m256 a = load(0), b = load(1), c = load(2), d = load(3);
    const Bytes order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const auto pack = [&](__m256 low, __m256 high) {
        const Bytes words = _mm256_packs_epi32(_mm256_castps_si256(low), _mm256_castps_si256(high));
        return _mm256_permutevar8x32_epi32(words, order);
    };
    constexpr int kEven = 0x88, kOdd = 0xdd;
    auto* registers = reinterpret_cast<__m256i*>(out);
    _mm256_storeu_si256(registers, pack(_mm256_shuffle_ps(a, b, kEven), _mm256_shuffle_ps(c, d, kEven)));
    _mm256_storeu_si256(registers + 1, pack(_mm256_shuffle_ps(a, b, kOdd), _mm256_shuffle_ps(c, d, kOdd)));
}

Bytes sixteen_entries(const uint8_t* table) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
}

/// By the codes' low four bits; zero where bit 7 is set.
Bytes sixteen_of(const uint8_t* table, Bytes codes) {
    return _mm256_shuffle_epi8(sixteen_entries(table), codes);
}

/// As the intrinsic; g++ 12 would test the mask's signs with an instruction of its own first.
inline Bytes select(Bytes low, Bytes high, Bytes signs) {
    Bytes result;
    asm("vpblendvb %3, %2, %1, %0" : "=x"(result) : "x"(low), "x"(high), "x"(signs));
    return result;
}

/// Codes on their way through tables of rows of 16 entries: a shuffle looks up a row by the codes' low four
/// bits and writes zero where bit 7 is set, which tells the two rows of a pair apart; the code's other high
/// bits select among pairs.
template <int kBits, int kDropped>
struct Index {
    static constexpr int kSelected = kBits - 5;  ///< bits that select
    Bytes low, high;                             ///< shuffle indices: zero in the other row of a pair
    Bytes signs[kSelected + 1];                  ///< each of those bits, from the lowest, moved to bit 7

    explicit Index(Bytes codes) {
        const Bytes sign = _mm256_set1_epi8(-128);
        low = with_pair_bit_on_top(codes);
        high = _mm256_xor_si256(low, sign);
        for (int bit = 0; bit < kSelected; bit++)
            signs[bit] = _mm256_slli_epi16(codes, 7 - lowest_selecting_bit() - bit);
    }

    Bytes lookup(const uint8_t* table) const { return tree<kSelected>(table); }

  private:
    /// Codes of 8 bits have their pair bit, 7, in place: the others are free to be dropped.
    static constexpr bool kFull = kBits + kDropped == 8;
    static constexpr int lowest_selecting_bit() { return kFull ? 4 + kDropped : 5; }
    static constexpr int pair_rows() { return kFull ? 1 << kSelected : 1; }

    static Bytes with_pair_bit_on_top(Bytes codes) {
        if constexpr (kFull) return codes;
        const Bytes pair_bit = _mm256_and_si256(_mm256_slli_epi16(codes, 3), _mm256_set1_epi8(-128));
        return _mm256_or_si256(_mm256_and_si256(codes, _mm256_set1_epi8(15)), pair_bit);
    }

    template <int bits>
    inline Bytes tree(const uint8_t* table) const {
        if constexpr (bits == 0) {
            return _mm256_or_si256(sixteen_of(table, low), sixteen_of(table + 16 * pair_rows(), high));
        } else {
            constexpr int half = 16 * (1 << (bits - 1)) * (kFull ? 1 : 2);
            return select(tree<bits - 1>(table), tree<bits - 1>(table + half), signs[bits - 1]);
        }
    }
};

template <>
struct Index<4, 0> {
    Bytes codes;
    explicit Index(Bytes codes) : codes(codes) {}
    Bytes lookup(const uint8_t* table) const { return sixteen_of(table, codes); }
};

constexpr bool kBounds = true;

#include "core/isa/generic/bytes.inl"
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
        return kernels;
    }();
    return table;
}

}  // namespace drq::isa::avx2

DRQ_TARGET_END
#endif
