// The last levels of an index's codes, in a mapped file: they are read for the vectors that are ranked only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/database.h"
#include "index/view.h"

namespace drq {

/// What a file of levels holds, and where. Who opened the file has compared this with its size.
struct TailShape {
    size_t d = 0;
    std::vector<int> nbits;   ///< of its levels
    size_t n = 0;             ///< rows
    size_t codebooks_at = 0;  ///< byte where the codebooks begin, level after level, a multiple of four
    size_t rows_at = 0;       ///< byte where the rows begin
};

/// A file's rows and codebooks, and the rows of vectors that were added since. Copies share what is mapped.
class StoredTail {
  public:
    /// Maps an open file, which may be closed afterwards. Throws std::runtime_error if that fails, and
    /// std::invalid_argument if the file is too short.
    StoredTail(int file, const std::string& name, TailShape shape);

    const std::string& name() const { return name_; }  ///< of the file
    size_t d() const { return shape_.d; }
    const std::vector<int>& nbits() const { return shape_.nbits; }  ///< of its levels
    size_t levels() const { return shape_.nbits.size(); }
    size_t row_size() const { return row_size_; }
    size_t size() const { return shape_.n + added_.size() / row_size_; }  ///< rows
    size_t stored() const { return shape_.n; }                            ///< those in the file
    const float* codebook(size_t m) const { return codebooks_[m]; }       ///< (2^nbits[m], d)

    /// Appends its levels to those of a view. Throws std::runtime_error if they are not those of the index.
    void extend(FlatView& view) const;

    /// Its rows, which follow `first` levels; valid as long as this and unchanged.
    Tail rows(size_t first) const;

    /// Packs the last levels of n codes (n, levels) to out (n, row_size()).
    void pack(size_t n, const int32_t* codes, size_t levels, uint8_t* out) const;

    /// Makes n packed rows those of the vectors from number `at` on; what was beyond is gone. If it throws,
    /// the rows before are as they were.
    void append(size_t at, size_t n, const uint8_t* rows);

    /// Adds what the levels stand for to n vectors x (n, d), reconstructed from the levels before.
    void add_to(size_t n, const int64_t* rows, float* x) const;

  private:
    class Mapping;

    Codes stored_codes() const;
    static void expect(const void* self, const int64_t* rows, size_t n);

    std::string name_;
    TailShape shape_;
    size_t row_size_;
    std::shared_ptr<const Mapping> mapping_;
    std::vector<const float*> codebooks_;
    std::vector<uint8_t> added_;
};

}  // namespace drq
