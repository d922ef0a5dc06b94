// Exact asymmetric-distance search (ADC) over the first L levels of the codes.
#pragma once

#include <cstdint>
#include <vector>

#include "core/executor.h"
#include "core/quantizer.h"
#include "core/simd/kernels.h"

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

    /// Those of the SIMD level that was active when the search began: another thread may set another.
    const simd::Kernels& kernels = simd::active();
};

/// What the values of a query x (d) are counted in: L2 needs the quantizer's unit.
float query_unit(const Quantizer& quantizer, Metric metric, const float* x);

/// ‖x̂_L − shift‖² of vectors [begin, end) for the first `levels` levels, to out (end − begin).
void reconstruction_norms(const Quantizer& quantizer, const Codes& codes, size_t levels, size_t begin,
                          size_t end, float* out, const Executor& executor);

/// The k nearest vectors of each of n queries x (n, d): distances and ids (n, k), nearest first, ties by id.
///
/// L2 gives squared distances, inner product the largest products first. Rows with fewer than k results end
/// in id −1 with the worst float. Distances are the float ADC distances and are the same bits on every SIMD
/// level.
void knn_search(const Database& database, size_t n, const float* x, size_t k, float* distances, int64_t* ids,
                const Executor& executor);

/// One result of a range search.
struct Neighbour {
    float distance;
    int64_t id;
};

/// Every vector with squared distance < radius (L2) or product > radius (inner product), by query, ids
/// ascending.
std::vector<std::vector<Neighbour>> range_search(const Database& database, size_t n, const float* x,
                                                 float radius, const Executor& executor);

}  // namespace drq
