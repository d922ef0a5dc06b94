// What a search looks into: codes, what is known about them, and which of them count.
#pragma once

#include <cstdint>
#include <utility>

#include "core/isa/kernels.h"
#include "core/quantizer.h"

namespace drq {

class Planes;
struct Renumbered;

enum class Metric { InnerProduct, L2 };

/// Which vectors a search may return: a predicate on the vector's number.
struct Selector {
    bool (*is_member)(const void* self, int64_t id) = nullptr;
    const void* self = nullptr;
};

/// Cached ‖x̂_L − shift‖² of every vector, see reconstruction_norms.
struct Norms {
    const float* data = nullptr;
    float lowest = 0;  ///< no norm is below this
};

/// The last levels of codes, where they are not in the codes' rows: read for ranking only.
struct Tail {
    size_t first = 0;     ///< of the levels
    Codes stored, added;  ///< of vectors [0, stored.n), and of those after them

    /// Is told which of n rows, −1 is the end, will be read soon, where that is worth knowing.
    void (*expect)(const void* self, const int64_t* rows, size_t n) = nullptr;
    const void* self = nullptr;

    /// The codes that a vector's are among, and which of these they are.
    std::pair<const Codes&, size_t> find(size_t row) const {
        return row < stored.n ? std::pair<const Codes&, size_t>(stored, row)
                              : std::pair<const Codes&, size_t>(added, row - stored.n);
    }
};

/// What is searched: the first `levels` levels of `codes`.
struct Database {
    const Quantizer& quantizer;
    Codes codes;
    size_t levels;
    Metric metric;
    Norms norms = {};                    ///< for codes.n vectors and this many levels; L2 only
    const Selector* selector = nullptr;  ///< null: every vector

    // What makes searches faster, where their kernels have a use for it; results are the same.
    const Renumbered* renumbered = nullptr;  ///< of the quantizer
    const Planes* planes = nullptr;          ///< of the codes

    /// Those of the instruction set that was active when the search began: another thread may set another.
    const isa::Kernels& kernels = isa::active();

    const Tail* tail = nullptr;  ///< null: all of the levels are in the rows of the codes
};

/// Writes the level indices of a vector to out, (levels).
void unpack_code(const Database& database, size_t row, int32_t* out);

/// Fetches a vector's code into the cache.
void prefetch_code(const Database& database, size_t row);

/// What the values of a query x (d) are counted in: L2 needs the quantizer's unit.
float query_unit(const Quantizer& quantizer, Metric metric, const float* x);

/// One result of a range search.
struct Neighbour {
    float distance;
    int64_t id;
};

}  // namespace drq
