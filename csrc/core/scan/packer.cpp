#include "core/scan/packer.h"

#include <algorithm>
#include <cstring>

#include "core/scan/score_kind.h"

namespace drq {

namespace {

constexpr size_t kBlockBytes =
    1 << 15;  // of codes: they stay in the second-level cache while all queries pass

size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

constexpr size_t kRows = 32;  // that kernels transpose at a time

/// An odd multiple of kPad: planes a power of two apart would fall into the same few lines of the cache.
size_t padded(size_t n) { return (n / ScanBlock::kPad | 1) * ScanBlock::kPad; }

void split_nibbles(size_t n, const uint8_t* __restrict both, uint8_t* __restrict low,
                   uint8_t* __restrict high) {
    for (size_t i = 0; i < n; i++) {
        low[i] = both[i] & 15;
        high[i] = both[i] >> 4;
    }
}

/// Where a level lies in a row of codes.
struct BitField {
    size_t bit;
    int nbits;

    /// How many bytes it lies in, one to three.
    size_t bytes() const { return (bit % 8 + size_t(nbits) + 7) / 8; }
};

typedef uint16_t Pairs __attribute__((vector_size(16), aligned(2), may_alias));  // of bytes
constexpr size_t kTogether = sizeof(Pairs);

/// One level of up to 8 bits of n vectors, from columns of the rows' bytes, `stride` apart. Bytes are shifted
/// in pairs, and what one shifts into the other is masked off. Reads and writes up to the next kTogether.
void unpack_bytes(size_t n, const uint8_t* __restrict columns, size_t stride, BitField field,
                  uint8_t* __restrict out) {
    const uint8_t* const low = columns + field.bit / 8 * stride;
    const uint8_t* const high = low + (field.bytes() > 1 ? stride : 0);
    const int shift = int(field.bit % 8), mask = (1 << field.nbits) - 1;
    const auto in_both = [](int byte) {
        const uint16_t pair = uint16_t(byte * 0x101);
        return Pairs{pair, pair, pair, pair, pair, pair, pair, pair};
    };
    const Pairs low_mask = in_both(mask & 0xff >> shift), high_mask = in_both(mask & 0xff00 >> shift & 0xff);
    for (size_t i = 0; i < n; i += kTogether) {
        const Pairs first = *reinterpret_cast<const Pairs*>(low + i) >> shift & low_mask;
        const Pairs second = *reinterpret_cast<const Pairs*>(high + i) << (8 - shift) & high_mask;
        *reinterpret_cast<Pairs*>(out + i) = first | second;
    }
}

/// One level of the codes of a block's vectors, as code_of(number). Takes copies, which stores through `out`
/// cannot change.
template <class Code, class CodeOf>
void unpack_wide(Codes codes, const ScanBlock& block, BitField field, CodeOf code_of, Code* __restrict out) {
    const size_t n = block.n, first = size_t(block.first_id);
    const int64_t* const ids = block.ids;
    for (size_t i = 0; i < n; i++)
        out[i] = code_of(codes.number(ids ? size_t(ids[i]) : first + i, field.bit, field.nbits));
}

}  // namespace

BlockPacker::BlockPacker(const Database& database, size_t most) : database_(database) {
    const Quantizer& quantizer = database.quantizer;
    byte_codes_ = quantizer.all_have(database.levels, 8);
    nibble_codes_ = quantizer.all_have(database.levels, 4);
    block_.levels = database.levels;
    block_.group = levels_per_plane(database.kernels, quantizer, database.levels);
    block_.stride =
        database.planes ? database.planes->stride() : std::min(full_capacity(database.levels), padded(most));
    const int widest = quantizer.max_nbits(database.levels);
    const bool wide = widest > 8;
    if (wide && database.renumbered) {
        block_.wide_rows = &database.codes;
        block_.wide_bits = widest;
    }
    if (wide && !database.renumbered) {
        words_.resize(database.levels * block_.stride);
        block_.words = words_.data();
    } else {
        bytes_.resize(round_up(database.levels, 8) * block_.stride);
        block_.bytes = bytes_.data();
    }
    if (!byte_codes_) columns_.resize(round_up(bytes_of_levels(), 8) * block_.stride);
    if (block_.group == 1)
        start16_.resize(block_.stride);
    else
        start_.resize(block_.stride);
    block_.start = start_.data();
    block_.start16 = start16_.data();
}

size_t BlockPacker::full_capacity(size_t levels) {
    return padded(std::max<size_t>(kBlockBytes / levels, 512));
}

const ScanBlock& BlockPacker::pack(size_t begin, size_t end, size_t step) {
    select(begin, end, step);
    block_.wide_ids = block_.ids;
    block_.first_wide = block_.first_id;
    if (block_.n == 0) return block_;
    if (database_.planes && !block_.ids) {
        block_.bytes = database_.planes->block(begin / block_.stride);
    } else {
        if (!block_.words) block_.bytes = bytes_.data();
        pack_codes();
    }
    return block_;
}

void BlockPacker::pack_codes() {
    if (byte_codes_ && block_.group == 1)
        pack_columns(block_.levels, bytes_.data());
    else if (byte_codes_)
        pack_groups();
    else if (nibble_codes_)
        pack_nibbles();
    else
        unpack_bits();
    if (block_.wide_rows || !database_.renumbered) return;
    for (size_t m = 0; m < block_.levels; m++)
        if (database_.quantizer.base(m).nbits == 8)
            database_.kernels.translate(round_up(block_.n, ScanBlock::kPad),
                                        database_.renumbered->new_bytes_of(m),
                                        bytes_.data() + m * block_.stride);
}

void BlockPacker::select(size_t begin, size_t end, size_t step) {
    block_.first_id = int64_t(begin);
    block_.n = end - begin;
    block_.ids = nullptr;
    block_.norms = database_.norms.data ? database_.norms.data + begin : nullptr;
    const Selector* selector = database_.selector;
    if (!selector && step == 1) return;

    ids_.clear();
    norms_.clear();
    for (size_t i = begin; i < end; i += step) {
        if (selector && !selector->is_member(selector->self, int64_t(i))) continue;
        ids_.push_back(int64_t(i));
        if (database_.norms.data) norms_.push_back(database_.norms.data[i]);
    }
    block_.n = ids_.size();
    block_.ids = ids_.data();
    if (block_.norms) block_.norms = norms_.data();
}

/// How many rows, a multiple of kRows, lie one after the other with eight readable bytes from any column on.
size_t BlockPacker::dense_rows() const {
    const Codes& codes = database_.codes;
    const size_t tail_rows = (7 + codes.code_size - 1) / codes.code_size;
    if (block_.ids || codes.n < tail_rows) return 0;
    const size_t begin = size_t(block_.first_id), readable = codes.n - tail_rows;
    return readable > begin ? std::min(block_.n, readable - begin) / kRows * kRows : 0;
}

void BlockPacker::pack_columns(size_t columns, uint8_t* out) const {
    const Codes& codes = database_.codes;
    const size_t dense = dense_rows();
    for (size_t c = 0; c < columns; c += 8) {
        uint8_t* column = out + c * block_.stride;
        if (dense) database_.kernels.transpose(dense, row(0) + c, codes.code_size, column, block_.stride);
        for (size_t i = dense; i < block_.n; i += kRows) {
            uint8_t copies[kRows][8] = {};
            for (size_t r = 0; r < std::min(kRows, block_.n - i); r++)
                std::memcpy(copies[r], row(i + r) + c, std::min<size_t>(8, codes.code_size - c));
            database_.kernels.transpose(kRows, copies[0], 8, column + i, block_.stride);
        }
    }
}

void BlockPacker::pack_groups() {
    const size_t code_size = database_.codes.code_size;
    const auto pack = database_.kernels.pack_groups;
    if (!block_.ids) {
        pack(block_.n, row(0), code_size, block_.levels, bytes_.data(), block_.stride);
        return;
    }
    for (size_t i = 0; i < block_.n; i++)
        pack(1, row(i), code_size, block_.levels, bytes_.data() + 4 * i, block_.stride);
}

/// How many bytes of a row hold the levels of the block.
size_t BlockPacker::bytes_of_levels() const {
    size_t bits = 0;
    for (size_t m = 0; m < block_.levels; m++) bits += size_t(database_.quantizer.base(m).nbits);
    return (bits + 7) / 8;
}

void BlockPacker::pack_nibbles() {
    const size_t columns = bytes_of_levels();
    pack_columns(columns, columns_.data());
    for (size_t c = 0; c < columns; c++) {
        uint8_t* low = bytes_.data() + 2 * c * block_.stride;
        split_nibbles(block_.n, columns_.data() + c * block_.stride, low, low + block_.stride);
    }
}

/// Levels of any widths.
void BlockPacker::unpack_bits() {
    if (!block_.words && !block_.wide_rows) pack_columns(bytes_of_levels(), columns_.data());
    BitField field{0, 0};
    for (size_t m = 0; m < block_.levels; m++, field.bit += size_t(field.nbits)) {
        field.nbits = database_.quantizer.base(m).nbits;
        const size_t first = m * block_.stride;
        if (block_.words)
            unpack_wide(
                database_.codes, block_, field, [](uint32_t code) { return uint16_t(code); }, &words_[first]);
        else if (block_.wide_rows)
            unpack_wide(
                database_.codes, block_, field,
                [bytes = database_.renumbered->new_bytes_of(m)](uint32_t code) { return bytes[code]; },
                &bytes_[first]);
        else
            unpack_bytes(block_.n, columns_.data(), block_.stride, field, &bytes_[first]);
    }
}

void BlockPacker::set_start(double unit) {
    if (!block_.norms) return;
    // The float product may come out a little too large: shrink it so that the result never does.
    const float per_unit = float((1 - 1e-6) / (2 * unit)), lowest = database_.norms.lowest;
    if (block_.group == 1)
        database_.kernels.start16(block_.n, block_.norms, lowest, per_unit, start16_.data());
    else
        database_.kernels.start32(block_.n, block_.norms, lowest, per_unit, start_.data());
}

}  // namespace drq
