#include "core/database.h"

#include <algorithm>

#include "core/units.h"

namespace drq {

float query_unit(const Quantizer& quantizer, Metric metric, const float* x) {
    return metric == Metric::L2 ? quantizer.unit : unit_of(quantizer.d, x);
}

void unpack_code(const Database& database, size_t row, int32_t* out) {
    const Tail* tail = database.tail;
    const size_t hot = tail ? std::min(tail->first, database.levels) : database.levels;
    unpack_row(database.quantizer, database.codes, row, 0, hot, out);
    if (hot == database.levels) return;
    const auto [codes, place] = tail->find(row);
    unpack_row(database.quantizer, codes, place, hot, database.levels, out + hot);
}

void prefetch_code(const Database& database, size_t row) {
    __builtin_prefetch(database.codes.row(row));
    if (!database.tail) return;
    const auto [codes, place] = database.tail->find(row);
    __builtin_prefetch(codes.row(place));
}

}  // namespace drq
