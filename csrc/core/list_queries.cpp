#include "core/list_queries.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace drq {

namespace {

/// L2 does not change when the origin is taken off queries and vectors.
std::vector<float> centre(const ListDatabase& database, size_t n, const float* x) {
    const size_t d = database.quantizer.d;
    std::vector<float> centred(x, x + n * d);
    if (database.metric == Metric::L2)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < d; j++) centred[i * d + j] -= database.origin[j];
    return centred;
}

double product(size_t d, const float* a, const float* b) { return std::inner_product(a, a + d, b, 0.0); }

constexpr float kNoNorm = 0;  // scores are prepared for a norm of zero and moved by enter()

}  // namespace

ListQueries::ListQueries(const ListDatabase& database, size_t n, const float* x)
    : database_(database),
      layout_(database.quantizer, database.levels),
      scorer_(database.quantizer, database.levels, layout_, kNoNorm),
      luts_(n * layout_.size),
      tables_(n * scorer_.table_bytes()),
      queries_(n),
      constants_(n),
      offsets_(n),
      finite_(n) {
    const size_t d = database.quantizer.d;
    const std::vector<float> centred = centre(database, n, x);
    build_luts(database.quantizer, layout_, n, centred.data(), luts_.data());
    for (size_t i = 0; i < n; i++) add_query(i, x + i * d, centred.data() + i * d);
}

void ListQueries::add_query(size_t i, const float* x, const float* centred) {
    const size_t d = database_.quantizer.d;
    const float* shift = database_.quantizer.shift.data();
    ScanQuery& query = queries_[i];
    query.lut = luts_.data() + i * layout_.size;
    query.lut_offsets = layout_.offsets.data();
    query.l2 = database_.metric == Metric::L2;
    if (!query.l2)
        constants_[i] = float(product(d, x, shift));
    else if (database_.by_residual)
        constants_[i] = float(product(d, shift, shift) - 2 * product(d, x, shift));
    else
        constants_[i] = float(product(d, centred, centred));
    finite_[i] = std::isfinite(constants_[i]) &&
                 std::all_of(query.lut, query.lut + layout_.size, [](float x) { return std::isfinite(x); });
}

bool ListQueries::start(size_t i, Sink* sink) {
    if (!finite_[i]) return false;
    queries_[i].sink = sink;
    scorer_.quantize(queries_[i], tables_.data() + i * scorer_.table_bytes());
    offsets_[i] = queries_[i].offset;
    return true;
}

void ListQueries::enter(size_t i, const InvertedList& list, float centroid_distance) {
    ScanQuery& query = queries_[i];
    const float own = database_.by_residual ? constants_[i] + centroid_distance : constants_[i];
    if (query.l2) {
        query.square = own + list.shift_product;
        query.offset = offsets_[i] + 0.5 * (double(query.square) + list.lowest_norm -
                                            scorer_.rounding() * std::fabs(query.square));
    } else {
        query.bias = own;
        query.offset = offsets_[i] - double(query.bias) - scorer_.rounding() * std::fabs(query.bias);
    }
    query.refresh_threshold();
}

float ListQueries::key(size_t i, const uint8_t* code, float norm) const {
    std::vector<int32_t> indices(database_.levels);
    unpack_codes(database_.quantizer, {code, 1, database_.code_size}, 0, 1, database_.levels, indices.data());
    float sum = 0;
    for (size_t m = 0; m < indices.size(); m++)
        sum += queries_[i].lut[layout_.offsets[m] + size_t(indices[m])];
    return queries_[i].key(sum, norm);
}

}  // namespace drq
