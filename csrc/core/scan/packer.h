// Repacks rows of codes into the planes of a ScanBlock.
#pragma once

#include <cstdint>
#include <vector>

#include "core/aligned.h"
#include "core/database.h"
#include "core/quantizer.h"
#include "core/scan/planes.h"
#include "core/scan/query.h"

namespace drq {

/// Owns the memory of one ScanBlock and fills it again and again.
class BlockPacker {
  public:
    /// Packs as the database's kernels read it. `most`: vectors that there are to pack.
    explicit BlockPacker(const Database& database, size_t most = SIZE_MAX);
    BlockPacker(const BlockPacker&) = delete;  // its block points into its memory
    BlockPacker& operator=(const BlockPacker&) = delete;

    /// Vectors a block takes.
    size_t capacity() const { return block_.stride; }

    /// The same where there are enough.
    static size_t full_capacity(size_t levels);

    /// Packs the selected ones of vectors [begin, end), at most capacity() of them. Where the database has
    /// planes, begin is a multiple of capacity().
    const ScanBlock& pack(size_t begin, size_t end) { return pack(begin, end, 1); }

    /// Packs the selected ones of every step-th vector of [begin, end), at most capacity() of them.
    const ScanBlock& pack(size_t begin, size_t end, size_t step);

    /// Turns norms into the kernels' start values, for queries whose score unit is `unit`.
    void set_start(double unit);

  private:
    void select(size_t begin, size_t end, size_t step);
    void pack_codes();
    void pack_columns(size_t columns, uint8_t* out) const;
    size_t dense_rows() const;
    void pack_groups();
    void pack_nibbles();
    void unpack_bits();
    size_t bytes_of_levels() const;
    const uint8_t* row(size_t i) const { return database_.codes.row(size_t(block_.id(i))); }

    const Database& database_;
    ScanBlock block_;
    bool byte_codes_, nibble_codes_;
    Lines<uint8_t> bytes_;
    std::vector<uint8_t> columns_;  ///< of the rows' bytes, where levels are none
    std::vector<uint16_t> words_;
    std::vector<int64_t> ids_;
    std::vector<float> norms_;
    Lines<int32_t> start_;
    Lines<int16_t> start16_;
};

}  // namespace drq
