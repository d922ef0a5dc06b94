#include "core/search/lists/queries.h"

#include <cmath>

#include "core/product.h"

namespace drq {

namespace {

// Of results among the vectors: large, as tables of bounds would let ten times the candidates through.
constexpr double kShare = 1;

constexpr float kNoNorm = 0;  // scores are prepared for a norm of zero and moved by enter()

}  // namespace

ListQueries::ListQueries(const ListDatabase& database, size_t n)
    : database_(database),
      exact_(database, n),
      scorer_(database.kernels, database.quantizer, database.levels, exact_.layout(), kNoNorm, kShare,
              database.renumbered),
      tables_(new uint8_t[n * scorer_.table_bytes()]),
      offsets_(n) {
    const float* shift = database.quantizer.shift.data();
    shift_length_ = std::sqrt(product(database.quantizer.d, shift, shift));
}

size_t ListQueries::bytes(const ListDatabase& database) {
    constexpr size_t kLargestTable = 256;  // of a level, see Scorer::table_bytes
    return ExactListQueries::bytes(database) + database.levels * kLargestTable;
}

void ListQueries::prepare(size_t first, size_t n, const float* const* x, Sink* const* sinks) {
    exact_.prepare(first, n, x);
    for (size_t i = first; i < first + n; i++) {
        ScanQuery& query = exact_[i];
        query.sink = sinks[i - first];
        if (!exact_.is_finite(i)) continue;
        scorer_.quantize(query, tables_.get() + i * scorer_.table_bytes());
        offsets_[i] = query.offset;
    }
}

bool ListQueries::enter(size_t i, const InvertedList& list, float centroid_product) {
    if (!exact_.enter(i, list, centroid_product)) return false;
    ScanQuery& query = exact_[i];
    if (query.l2)
        enter_l2(i, list);
    else
        query.offset = offsets_[i] - double(query.bias) - scorer_.rounding() * std::fabs(query.bias);
    query.refresh();
    return true;
}

void ListQueries::enter_l2(size_t i, const InvertedList& list) {
    ScanQuery& query = exact_[i];
    const double length = exact_.length(i);
    const double point = database_.by_residual ? std::sqrt(double(query.square)) : length;
    const double apart = database_.by_residual ? length + point : 0;
    scorer_.set_stray(query, {length, apart, point, shift_length_});
    query.offset = offsets_[i] + 0.5 * (double(query.square) + list.lowest_norm -
                                        scorer_.rounding() * std::fabs(query.square));
}

}  // namespace drq
