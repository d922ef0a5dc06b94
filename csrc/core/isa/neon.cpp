// The NEON level, of every 64-bit Arm CPU: a look-up takes tables of up to 64 bytes in four registers, and
// what lies beyond a table is left to the next, so that four look-ups make one of 256 entries.
#ifdef __aarch64__
#include <arm_neon.h>

#include <cstring>
#include <limits>

#include "core/isa/targets.h"

namespace drq::isa::neon {

namespace {

typedef float Lane __attribute__((vector_size(16)));
typedef Lane UnalignedLane __attribute__((aligned(4), may_alias));
typedef int32_t Mask __attribute__((vector_size(16)));
constexpr int kTileRows = 5, kTileVectors = 4;  // of 32 registers, 20 sums, 4 columns and their products

inline uint32_t mask_bits(Mask mask) {
    const uint32x4_t bits = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32((uint32x4_t)mask, bits));
}

#include "core/isa/generic/beam.inl"
#include "core/isa/generic/norms.inl"
#include "core/isa/generic/products.inl"

/// 32 codes, or 16 words of 16 bits: two registers, so that a table once loaded is used twice.
struct Bytes {
    uint8x16_t low, high;
};

using ByteMask = uint32_t;

template <class Function>
inline Bytes both(Bytes a, Function function) {
    return {function(a.low), function(a.high)};
}

template <class Function>
inline Bytes both16(Bytes a, Bytes b, Function function) {
    const auto words = [&](uint8x16_t x, uint8x16_t y) {
        return vreinterpretq_u8_u16(function(vreinterpretq_u16_u8(x), vreinterpretq_u16_u8(y)));
    };
    return {words(a.low, b.low), words(a.high, b.high)};
}

Bytes load_bytes(const void* p) {
    const auto* bytes = static_cast<const uint8_t*>(p);
    return {vld1q_u8(bytes), vld1q_u8(bytes + 16)};
}

void store_bytes(void* p, Bytes a) {
    auto* bytes = static_cast<uint8_t*>(p);
    vst1q_u8(bytes, a.low);
    vst1q_u8(bytes + 16, a.high);
}

Bytes add16(Bytes a, Bytes b) {
    return both16(a, b, [](uint16x8_t x, uint16x8_t y) { return vaddq_u16(x, y); });
}
Bytes sub16(Bytes a, Bytes b) {
    return both16(a, b, [](uint16x8_t x, uint16x8_t y) { return vsubq_u16(x, y); });
}
Bytes shift_left_byte(Bytes a) {
    return both(a,
                [](uint8x16_t x) { return vreinterpretq_u8_u16(vshlq_n_u16(vreinterpretq_u16_u8(x), 8)); });
}
Bytes shift_right_byte(Bytes a) {
    return both(a,
                [](uint8x16_t x) { return vreinterpretq_u8_u16(vshrq_n_u16(vreinterpretq_u16_u8(x), 8)); });
}
Bytes broadcast16(int32_t value) {
    const uint8x16_t words = vreinterpretq_u8_s16(vdupq_n_s16(int16_t(value)));
    return {words, words};
}

/// Per byte 0xff where the 16-bit value is above the threshold: even values in one register, odd ones in the
/// other.
inline uint8x16_t above_in_order(uint8x16_t even, uint8x16_t odd, uint8x16_t threshold) {
    const int16x8_t limit = vreinterpretq_s16_u8(threshold);
    const uint16x8_t low = vcgtq_s16(vreinterpretq_s16_u8(even), limit);
    const uint16x8_t high = vcgtq_s16(vreinterpretq_s16_u8(odd), limit);
    return vreinterpretq_u8_u16(vbslq_u16(vdupq_n_u16(0xff), low, high));
}

/// Bit i: 16-bit value i is above the threshold, even values in one register and odd ones in the other.
ByteMask above16(Bytes even, Bytes odd, Bytes threshold) {
    const uint8x16_t bits = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t low = vandq_u8(above_in_order(even.low, odd.low, threshold.low), bits);
    const uint8x16_t high = vandq_u8(above_in_order(even.high, odd.high, threshold.high), bits);
    uint8x16_t sums = vpaddq_u8(low, high);
    sums = vpaddq_u8(sums, sums);
    sums = vpaddq_u8(sums, sums);
    return vgetq_lane_u32(vreinterpretq_u32_u8(sums), 0);
}

/// 32 values as 16-bit words: the even ones in one pair of registers, the odd ones in the next.
void split16(const int32_t* values, int16_t* out) {
    for (size_t i = 0; i < 4; i++) {
        const int32x4x2_t words = vld2q_s32(values + 8 * i);
        vst1_s16(out + 4 * i, vmovn_s32(words.val[0]));
        vst1_s16(out + 16 + 4 * i, vmovn_s32(words.val[1]));
    }
}

/// Codes on their way through tables of 2^bits entries. Dropped bits, from bit 4 on, are squeezed out.
template <int kBits, int kDropped>
struct Index {
    static constexpr int kParts = kBits == 8 ? 4 : kBits == 7 ? 2 : 1;  ///< look-ups per register
    Bytes part[kParts];  ///< the codes from the first entry of each part on; others are beyond its end

    explicit Index(Bytes codes) {
        part[0] = both(codes, squeezed);
        for (int i = 1; i < kParts; i++)
            part[i] = both(part[0], [&](uint8x16_t x) { return vsubq_u8(x, vdupq_n_u8(uint8_t(64 * i))); });
    }

    Bytes lookup(const uint8_t* table) const {
        if constexpr (kBits == 4) {
            const uint8x16_t entries = vld1q_u8(table);
            return both(part[0], [&](uint8x16_t x) { return vqtbl1q_u8(entries, x); });
        } else if constexpr (kBits == 5) {
            const uint8x16x2_t entries = vld1q_u8_x2(table);
            return both(part[0], [&](uint8x16_t x) { return vqtbl2q_u8(entries, x); });
        } else {
            const uint8x16x4_t first = vld1q_u8_x4(table);
            Bytes found = both(part[0], [&](uint8x16_t x) { return vqtbl4q_u8(first, x); });
            for (int i = 1; i < kParts; i++) {
                const uint8x16x4_t entries = vld1q_u8_x4(table + 64 * i);
                found = {vqtbx4q_u8(found.low, entries, part[i].low),
                         vqtbx4q_u8(found.high, entries, part[i].high)};
            }
            return found;
        }
    }

  private:
    static uint8x16_t squeezed(uint8x16_t codes) {
        if constexpr (kDropped == 0)
            return codes;
        else
            return vbslq_u8(vdupq_n_u8(15), codes, vshrq_n_u8(codes, kDropped));
    }
};

constexpr bool kBounds = true;

#include "core/isa/generic/bytes.inl"

/// 16 rows of 8 bytes to 8 columns: each stage brings twice as many rows of one column together.
inline void transpose_16x8(const uint8_t* rows, size_t pitch, uint8_t* columns, size_t stride) {
    uint8x16_t two[8], four[8], eight[8];
    for (size_t i = 0; i < 8; i++)
        two[i] = vcombine_u8(vld1_u8(rows + 2 * i * pitch), vld1_u8(rows + (2 * i + 1) * pitch));
    for (size_t i = 0; i < 4; i++) {
        four[i] = vuzp1q_u8(two[2 * i], two[2 * i + 1]);  // even columns
        four[i + 4] = vuzp2q_u8(two[2 * i], two[2 * i + 1]);
    }
    for (size_t i = 0; i < 4; i++) {
        eight[i] = vuzp1q_u8(four[2 * i], four[2 * i + 1]);
        eight[i + 4] = vuzp2q_u8(four[2 * i], four[2 * i + 1]);
    }
    for (size_t i = 0; i < 4; i++) {
        vst1q_u8(columns + i * stride, vuzp1q_u8(eight[2 * i], eight[2 * i + 1]));
        vst1q_u8(columns + (i + 4) * stride, vuzp2q_u8(eight[2 * i], eight[2 * i + 1]));
    }
}

void transpose(size_t n, const uint8_t* rows, size_t pitch, uint8_t* columns, size_t stride) {
    for (size_t i = 0; i < n; i += 16) transpose_16x8(rows + i * pitch, pitch, columns + i, stride);
}

}  // namespace

const Kernels& kernels() {
    static const Kernels table = [] {
        Kernels kernels{};
        add_beam(kernels);
        add_norms(kernels);
        add_products(kernels);
        add_bytes(kernels);
        kernels.transpose = transpose;
        return kernels;
    }();
    return table;
}

}  // namespace drq::isa::neon
#endif
