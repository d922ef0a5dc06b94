#include "core/search.h"

#include <algorithm>
#include <limits>

namespace drq {
namespace {
void decode_centred(const Quantizer& q, const Codes& codes, size_t i, size_t levels, float* out) {
    std::vector<int32_t> b(levels);
    unpack_codes(q, codes, i, 1, levels, b.data());
    std::fill(out, out + q.d, 0.f);
    for (size_t m = 0; m < levels; m++)
        for (size_t j = 0; j < q.d; j++) out[j] += q.scale[m] * q.base(m).rows[b[m] * q.d + j];
}
std::vector<Neighbour> all(const Database& db, const float* x) {
    std::vector<Neighbour> result;
    std::vector<float> v(db.quantizer.d);
    for (size_t i = 0; i < db.codes.n; i++) {
        if (db.selector && !db.selector->is_member(db.selector->self, int64_t(i))) continue;
        decode_centred(db.quantizer, db.codes, i, db.levels, v.data());
        float s = 0;
        for (size_t j = 0; j < v.size(); j++) {
            float r = v[j] + db.quantizer.shift[j];
            s += db.metric == Metric::L2 ? (x[j] - r) * (x[j] - r) : x[j] * r;
        }
        result.push_back({s, int64_t(i)});
    }
    return result;
}
}  // namespace
void reconstruction_norms(const Quantizer& q, const Codes& codes, size_t levels, size_t begin, size_t end, float* out,
                          const Executor&) {
    std::vector<float> v(q.d);
    for (size_t i = begin; i < end; i++) {
        decode_centred(q, codes, i, levels, v.data());
        out[i - begin] = 0;
        for (float f : v) out[i - begin] += f * f;
    }
}
void knn_search(const Database& db, size_t n, const float* x, size_t k, float* distances, int64_t* ids,
                const Executor& executor) {
    parallel_for(executor, n, [&](size_t q) {
        std::vector<Neighbour> r = all(db, x + q * db.quantizer.d);
        std::sort(r.begin(), r.end(), [&](const Neighbour& a, const Neighbour& b) {
            if (a.distance != b.distance) return db.metric == Metric::L2 ? a.distance < b.distance : a.distance > b.distance;
            return a.id < b.id;
        });
        for (size_t j = 0; j < k; j++) {
            ids[q * k + j] = j < r.size() ? r[j].id : -1;
            float worst = std::numeric_limits<float>::max();
            distances[q * k + j] = j < r.size() ? r[j].distance : db.metric == Metric::L2 ? worst : -worst;
        }
    });
}
std::vector<std::vector<Neighbour>> range_search(const Database& db, size_t n, const float* x, float radius,
                                                 const Executor&) {
    std::vector<std::vector<Neighbour>> r(n);
    for (size_t q = 0; q < n; q++)
        for (const Neighbour& c : all(db, x + q * db.quantizer.d))
            if (db.metric == Metric::L2 ? c.distance < radius : c.distance > radius) r[q].push_back(c);
    return r;
}
}  // namespace drq
