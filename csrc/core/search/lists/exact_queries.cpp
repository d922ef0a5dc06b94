#include "core/search/lists/exact_queries.h"

#include <algorithm>
#include <cmath>

#include "core/product.h"
#include "core/units.h"

namespace drq {

ExactListQueries::ExactListQueries(const ListDatabase& database, size_t n)
    : database_(database),
      layout_(database.quantizer, database.levels),
      differences_(database.kernels, database.quantizer, database.levels),
      points_(new float[n * database.quantizer.d]),
      luts_(new float[n * layout_.size]),  // not initialized: every float is written by prepare()
      queries_(n),
      constants_(n),
      lengths_(n),
      finite_(n) {}

size_t ExactListQueries::bytes(const ListDatabase& database) {
    return (LutLayout(database.quantizer, database.levels).size + database.quantizer.d) * sizeof(float) +
           sizeof(ScanQuery);
}

void ExactListQueries::prepare(size_t first, size_t n, const float* const* x) {
    const size_t d = database_.quantizer.d;
    for (size_t i = 0; i < n; i++) {
        const float unit = query_unit(database_.quantizer, database_.metric, x[i]);
        std::copy_n(x[i], d, point(first + i));
        divide(d, unit, point(first + i));
        queries_[first + i].key_unit = double(database_.quantizer.unit) * unit;
    }
    centred_.assign(point(first), point(first) + n * d);
    if (database_.metric == Metric::L2)  // does not change when the origin is taken off queries and vectors
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < d; j++) centred_[i * d + j] -= database_.origin[j];
    build_luts(database_.quantizer, layout_, n, centred_.data(), luts_.get() + first * layout_.size);
    for (size_t i = 0; i < n; i++) prepare_query(first + i, centred_.data() + i * d);
}

void ExactListQueries::prepare_query(size_t i, const float* centred) {
    const size_t d = database_.quantizer.d;
    const float* shift = database_.quantizer.shift.data();
    ScanQuery& query = queries_[i];
    query.lut = luts_.get() + i * layout_.size;
    query.lut_offsets = layout_.offsets.data();
    query.lut_scales = layout_.scales.data();
    query.l2 = database_.metric == Metric::L2;
    if (query.l2) {
        query.differences = &differences_;
        query.point = {point(i), nullptr, shift};
    }
    constants_[i] = query.l2 ? product(d, centred, centred) : product(d, point(i), shift);
    if (query.l2) lengths_[i] = std::sqrt(constants_[i]);
    finite_[i] = drq::is_finite(layout_, query.lut);
}

/// The distance to the centroid is computed here and not taken from the caller, as in FAISS: a coarse
/// quantizer may have computed it by an expansion that cancels, or it is a dummy.
bool ExactListQueries::enter(size_t i, const InvertedList& list, float centroid_product) {
    ScanQuery& query = queries_[i];
    if (query.l2) {
        query.point.centroid = list.centroid;
        query.square = database_.by_residual ? differences_.square(query.point) : float(constants_[i]);
    } else {
        query.bias = float(constants_[i]);
        if (database_.by_residual) query.bias += float(centroid_product / query.key_unit);
    }
    return std::isfinite(query.square) && std::isfinite(query.bias);
}

float ExactListQueries::key(size_t i, const int32_t* code, float norm) const {
    const auto code_of = [&](size_t m) { return code[m]; };
    return queries_[i].key(queries_[i].sum(database_.levels, code_of), norm, code_of);
}

}  // namespace drq
