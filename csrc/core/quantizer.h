// The additive quantizer as the core sees it: few base codebooks, a scale per level.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "core/aligned.h"

namespace drq {

class LazyRotation;

/// Codebooks as a residual quantizer stores them; not owned.
struct Codebooks {
    size_t d = 0;                     ///< dimensions
    std::vector<int> nbits;           ///< bits of each level, 1..16
    std::vector<const float*> level;  ///< level[m]: (2^nbits[m], d) codewords, row-major
};

/// x̂ = shift + Σ_m scale[m] · base(group[m])[b_m]: the same codebooks, factored.
///
/// A recurrent quantizer (Deep Recurrent Quantization, IJCAI 2019) has one group; an own first codebook
/// gives two; codebooks that are not multiples of each other give one group per level. The mean of the data,
/// which training folds into level 0, is split off again as `shift`, so that tables and norms hold small
/// numbers. All values are in multiples of `unit`, and so are to be the vectors that they meet: 1, but for
/// codebooks whose squares would not fit in floats.
///
/// Codewords that differ in few directions only are a block: inner products with them need only that many
/// coordinates of a vector, those along the block's axes.
struct Quantizer {
    static constexpr size_t kLanes = 16;
    static constexpr int kDense = -1;

    /// One base codebook, stored by columns so that kernels run over codewords.
    struct Base {
        int nbits = 0;
        size_t K = 0;             ///< codewords, 2^nbits
        size_t stride = 0;        ///< floats between columns: K rounded up to kLanes, the rest zero
        int block = kDense;       ///< index into blocks, or kDense: in no block
        Lines<float> columns;     ///< (d, stride); of a base in a block (size of the block, stride)
        Lines<float> rows;        ///< (K, d), the same values, always in all d dimensions
        double largest_norm = 0;  ///< of the codewords' lengths

        size_t depth() const { return columns.size() / stride; }  ///< coordinates that columns need
    };

    /// The coordinates [begin, begin + size) of projected vectors.
    struct Block {
        size_t begin = 0, size = 0;
    };

    size_t d = 0;
    float unit = 1;            ///< a power of two, see unit_of
    std::vector<float> shift;  ///< (d)
    std::vector<Base> bases;
    std::vector<Block> blocks;  ///< orthogonal to each other
    std::vector<float> axes;    ///< (d, axes_stride): orthonormal columns, those of a block side by side
    size_t axes_stride = 0;     ///< Σ sizes of the blocks, rounded up to kLanes, the rest zero
    std::vector<int> group;     ///< (M) index into bases
    std::vector<float> scale;   ///< (M) > 0
    std::shared_ptr<LazyRotation> rotation;  ///< what norms of codes with levels in blocks are made of
    size_t code_bits = 0;                    ///< Σ nbits; norm bits that FAISS may append are not counted

    size_t levels() const { return group.size(); }
    const Base& base(size_t m) const { return bases[group[m]]; }
    bool shared() const { return bases.size() == 1; }
    bool in_block(size_t m) const { return base(m).block != kDense; }
    double product_error() const;  ///< of a table's entries and of a rotation's, see Scorer::set_stray
    double square_error() const;   ///< of a norm that is summed up block by block, see there

    /// Of the first so many levels. With 8 bits their codes are plain bytes, with 4 half ones.
    bool all_have(size_t levels, int nbits) const;
    int max_nbits(size_t levels) const;

    /// Factors codebooks. Throws std::invalid_argument on a shape that cannot be.
    static Quantizer from_codebooks(const Codebooks& codebooks);
};

/// Packed codes as FAISS stores them: row-major, bits from the least significant up, level after level.
struct Codes {
    const uint8_t* data = nullptr;
    size_t n = 0;
    size_t code_size = 0;  ///< bytes per vector; bytes after the levels' bits (a stored norm) are ignored

    const uint8_t* row(size_t i) const { return data + i * code_size; }

    /// Up to 16 bits of row i, from any of its bits on.
    uint32_t number(size_t i, size_t bit, int nbits) const {
        const uint8_t* first = row(i) + bit / 8;
        uint32_t bytes = 0;  // those bits lie within three
        if (row(n) - first >= 4)
            std::memcpy(&bytes, first, 4);
        else
            std::copy(first, row(n), reinterpret_cast<uint8_t*>(&bytes));
        return bytes >> (bit % 8) & ((1u << nbits) - 1);
    }
};

/// Writes levels [first, last) of a row that begins with level `first` to out, (last − first).
void unpack_row(const Quantizer& quantizer, const Codes& codes, size_t row, size_t first, size_t last,
                int32_t* out);

/// Writes the level indices of rows [begin, begin + n) to out, (n, levels).
void unpack_codes(const Quantizer& quantizer, const Codes& codes, size_t begin, size_t n, size_t levels,
                  int32_t* out);

}  // namespace drq
