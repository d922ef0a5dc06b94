#include "core/search/lists/queries.h"

#include <algorithm>
#include <cmath>

#include "core/product.h"
#include "core/units.h"

namespace drq {

namespace {

// Of results among the vectors: large, as tables of bounds would let ten times the candidates through.
constexpr double kShare = 1;

constexpr float kNoNorm = 0;  // scores are prepared for a norm of zero and moved by enter()

}  // namespace

ListQueries::ListQueries(const ListDatabase& database, size_t n)
    : database_(database),
      layout_(database.quantizer, database.levels),
      scorer_(database.kernels, database.quantizer, database.levels, layout_, kNoNorm, kShare),
      differences_(database.kernels, database.quantizer, database.levels),
      points_(new float[n * database.quantizer.d]),
      luts_(new float[n * layout_.size]),  // not initialized: every float is written by prepare()
      tables_(new uint8_t[n * scorer_.table_bytes()]),
      queries_(n),
      constants_(n),
      lengths_(n),
      offsets_(n),
      finite_(n) {
    const float* shift = database.quantizer.shift.data();
    shift_length_ = std::sqrt(product(database.quantizer.d, shift, shift));
}

void ListQueries::prepare(size_t first, size_t n, const float* const* x, Sink* const* sinks) {
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
    for (size_t i = 0; i < n; i++) {
        queries_[first + i].sink = sinks[i];
        prepare_query(first + i, centred_.data() + i * d);
    }
}

void ListQueries::prepare_query(size_t i, const float* centred) {
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
    if (!finite_[i]) return;
    scorer_.quantize(query, tables_.get() + i * scorer_.table_bytes());
    offsets_[i] = query.offset;
}

bool ListQueries::enter(size_t i, const InvertedList& list, float centroid_product) {
    ScanQuery& query = queries_[i];
    if (query.l2) {
        enter_l2(i, list);
    } else {
        query.bias = float(constants_[i]);
        if (database_.by_residual) query.bias += float(centroid_product / query.key_unit);
        query.offset = offsets_[i] - double(query.bias) - scorer_.rounding() * std::fabs(query.bias);
    }
    if (!std::isfinite(query.square) || !std::isfinite(query.bias)) return false;
    query.refresh();
    return true;
}

/// The distance to the centroid is computed here and not taken from the caller, as in FAISS: a coarse
/// quantizer may have computed it by an expansion that cancels, or it is a dummy.
void ListQueries::enter_l2(size_t i, const InvertedList& list) {
    ScanQuery& query = queries_[i];
    const double length = lengths_[i];
    query.point.centroid = list.centroid;
    if (database_.by_residual) {
        query.square = differences_.square(query.point);
        const double point = std::sqrt(double(query.square));
        scorer_.set_stray(query, {length, length + point, point, shift_length_});
    } else {
        query.square = float(constants_[i]);
        scorer_.set_stray(query, {length, 0, length, shift_length_});
    }
    query.offset = offsets_[i] + 0.5 * (double(query.square) + list.lowest_norm -
                                        scorer_.rounding() * std::fabs(query.square));
}

float ListQueries::key(size_t i, const uint8_t* code, float norm) const {
    std::vector<int32_t> indices(database_.levels);
    unpack_codes(database_.quantizer, {code, 1, database_.code_size}, 0, 1, database_.levels, indices.data());
    const auto code_of = [&](size_t m) { return indices[m]; };
    return queries_[i].key(queries_[i].sum(indices.size(), code_of), norm, code_of);
}

}  // namespace drq
