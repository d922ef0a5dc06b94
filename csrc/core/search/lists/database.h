// Inverted lists as a search sees them: vectors grouped by their nearest centroid, codes of what is left
// over.
#pragma once

#include <cstdint>

#include "core/database.h"

namespace drq {

/// One inverted list.
struct InvertedList {
    const uint8_t* codes = nullptr;
    size_t n = 0;
    const int64_t* ids = nullptr;  ///< (n); null: first_id + i
    int64_t first_id = 0;
    int64_t first_position = 0;       ///< see ListDatabase::by_position
    const float* norms = nullptr;     ///< (n), see list_norms; L2 only
    float lowest_norm = 0;            ///< no norm is below this
    const float* centroid = nullptr;  ///< (d), in the quantizer's unit; L2 of residuals only

    int64_t id(size_t row) const { return ids ? id_at(ids, row) : first_id + int64_t(row); }
};

/// What the lists hold, and how they are searched.
///
/// With q' = q − origin and S = Σ_m scale_m C[b_m], the sum of a code's first levels:
///
///     inner product       ⟨q, c⟩ + ⟨q, shift⟩ + ⟨q, S⟩             origin 0
///     L2 of residuals     ‖q − c − shift‖² + norm − 2⟨q', S⟩       any origin
///     L2                  ‖q'‖² + norm − 2⟨q', S⟩                  origin shift
///
/// The first terms are one number per query and list, the norm is one number per vector, and the last term
/// needs one table per query for all lists. An origin amid the centroids keeps the numbers in it small; where
/// they are large against the distance, that is ‖q − c − shift − S‖², see ScanQuery.
struct ListDatabase {
    const Quantizer& quantizer;
    size_t code_size;
    size_t levels;
    Metric metric;
    bool by_residual;
    const float* origin;                     ///< (d), in the quantizer's unit; L2 only
    const Selector* selector = nullptr;      ///< by id; null: every vector
    const Renumbered* renumbered = nullptr;  ///< of a quantizer of levels wider than a byte, as in Database
    const isa::Kernels& kernels = isa::active();  ///< as in Database
    bool by_position = false;  ///< scans tell a list's first_position + row of what they find, not its id
};

/// Which lists each of n queries looks at, nearest first.
struct Probes {
    size_t per_query;
    const int32_t* list;   ///< (n, per_query) indices into the lists; −1: none
    const float* product;  ///< (n, per_query) of query and centroid; inner product of residuals only

    /// Those of queries from number i on.
    Probes from(size_t i) const {
        const size_t first = i * per_query;
        return {per_query, list + first, product ? product + first : nullptr};
    }
};

/// What a search did.
struct ListStats {
    size_t lists = 0;    ///< that were not empty, over all queries
    size_t vectors = 0;  ///< that the selector let through, over all queries
};

}  // namespace drq
