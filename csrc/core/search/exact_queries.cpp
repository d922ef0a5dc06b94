#include "core/search/exact_queries.h"

#include <cmath>

#include "core/product.h"
#include "core/units.h"

namespace drq {

ExactQueries::ExactQueries(const Database& database, size_t n, const float* x)
    : database_(database),
      layout_(database.quantizer, database.levels),
      differences_(database.kernels, database.quantizer, database.levels),
      centred_(x, x + n * database.quantizer.d),
      luts_(n * layout_.size),
      lengths_(n),
      finite_(n) {
    std::vector<float> units(n);
    for (size_t i = 0; i < n; i++) units[i] = centre(centred_.data() + i * database.quantizer.d);
    build_luts(database.quantizer, layout_, n, centred_.data(), luts_.data());
    queries_.resize(n);
    for (size_t i = 0; i < n; i++) add_query(i, units[i]);
}

/// Turns a query into the unit it is searched in, and returns that. L2 does not change when the quantizer's
/// shift is taken off both sides; inner products do.
float ExactQueries::centre(float* x) const {
    const Quantizer& quantizer = database_.quantizer;
    const bool l2 = database_.metric == Metric::L2;
    const float unit = query_unit(quantizer, database_.metric, x);
    divide(quantizer.d, unit, x);
    if (l2)
        for (size_t j = 0; j < quantizer.d; j++) x[j] -= quantizer.shift[j];
    return unit;
}

void ExactQueries::add_query(size_t i, float unit) {
    const size_t d = database_.quantizer.d;
    const float* x = centred_.data() + i * d;
    ScanQuery& query = queries_[i];
    query.lut = luts_.data() + i * layout_.size;
    query.lut_offsets = layout_.offsets.data();
    query.lut_scales = layout_.scales.data();
    query.l2 = database_.metric == Metric::L2;
    query.key_unit = double(database_.quantizer.unit) * unit;
    const float* other = query.l2 ? x : database_.quantizer.shift.data();
    const double constant = product(d, x, other);
    (query.l2 ? query.square : query.bias) = float(constant);
    finite_[i] =
        drq::is_finite(layout_, query.lut) && std::isfinite(query.square) && std::isfinite(query.bias);
    if (!query.l2) return;
    query.differences = &differences_;
    query.point.query = x;
    lengths_[i] = std::sqrt(constant);
}

}  // namespace drq
