#include "core/list_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/list_queries.h"
#include "core/list_scanner.h"
#include "core/sinks.h"

namespace drq {

namespace {

/// A query that looks at a list.
struct Visit {
    uint32_t query;
    float distance;
};

/// Probes of ranks [first, last), grouped by list; queries of a list stay in `order`.
class VisitsByList {
  public:
    VisitsByList(const Probes& probes, size_t lists, const std::vector<uint32_t>& order, size_t first,
                 size_t last)
        : begin_(lists + 1) {
        for_each(probes, order, first, last, [&](size_t list, Visit) { begin_[list + 1]++; });
        for (size_t l = 0; l < lists; l++) begin_[l + 1] += begin_[l];
        visits_.resize(begin_[lists]);
        std::vector<size_t> next(begin_.begin(), begin_.end() - 1);
        for_each(probes, order, first, last,
                 [&](size_t list, Visit visit) { visits_[next[list]++] = visit; });
    }

    const Visit* begin(size_t list) const { return visits_.data() + begin_[list]; }
    size_t count(size_t list) const { return begin_[list + 1] - begin_[list]; }

  private:
    template <class F>
    static void for_each(const Probes& probes, const std::vector<uint32_t>& order, size_t first, size_t last,
                         const F& f) {
        for (const uint32_t query : order)
            for (size_t p = first; p < last; p++) {
                const size_t i = query * probes.per_query + p;
                if (probes.list[i] >= 0 && std::isfinite(probes.distance[i]))
                    f(size_t(probes.list[i]), Visit{query, probes.distance[i]});
            }
    }

    std::vector<size_t> begin_;
    std::vector<Visit> visits_;
};

/// Offers the probed vectors to each query's sink: first those of all queries' nearest lists, so that every
/// query has a good bound when it comes to the others.
void scan_lists(const ListDatabase& database, const InvertedList* lists, size_t n_lists, size_t n,
                const float* x, const Probes& probes, Sink* const* sinks, ListStats& stats) {
    ListQueries queries(database, n, x);
    std::vector<uint32_t> order;
    for (size_t i = 0; i < n; i++)
        if (queries.start(i, sinks[i])) order.push_back(uint32_t(i));
    // Queries of one unit next to each other: start values are set once for all of them.
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return queries[a].unit < queries[b].unit; });

    ListScanner scanner(database, queries.scorer());
    std::vector<ScanQuery*> visitors;
    const auto scan_ranks = [&](size_t first, size_t last) {
        const VisitsByList visits(probes, n_lists, order, first, last);
        for (size_t l = 0; l < n_lists; l++) {
            const size_t count = visits.count(l);
            if (count == 0 || lists[l].n == 0) continue;
            visitors.clear();
            for (const Visit* v = visits.begin(l); v < visits.begin(l) + count; v++) {
                queries.enter(v->query, lists[l], v->distance);
                visitors.push_back(&queries[v->query]);
            }
            stats.lists += count;
            stats.vectors += count * scanner.scan(lists[l], visitors.data(), count);
        }
    };
    scan_ranks(0, 1);
    scan_ranks(1, probes.per_query);
}

}  // namespace

void list_norms(const Quantizer& quantizer, const Codes& codes, size_t levels, const float* centroid,
                const float* origin, float* out) {
    reconstruction_norms(quantizer, codes, levels, 0, codes.n, out, Executor());
    if (!centroid) return;
    std::vector<float> point(quantizer.d);
    for (size_t j = 0; j < quantizer.d; j++) point[j] = centroid[j] - origin[j] + quantizer.shift[j];
    const LutLayout layout(quantizer, levels);
    std::vector<float> lut(layout.size);
    build_luts(quantizer, layout, 1, point.data(), lut.data());
    std::vector<int32_t> code(levels);
    for (size_t i = 0; i < codes.n; i++) {
        unpack_codes(quantizer, codes, i, 1, levels, code.data());
        float sum = 0;
        for (size_t m = 0; m < levels; m++) sum += lut[layout.offsets[m] + size_t(code[m])];
        out[i] += 2 * sum;
    }
}

void knn_search_lists(const ListDatabase& database, const InvertedList* lists, size_t n_lists, size_t n,
                      const float* x, const Probes& probes, size_t k, float* distances, int64_t* ids,
                      ListStats& stats) {
    const float sign = database.metric == Metric::L2 ? 1 : -1;
    std::vector<TopK> best(n, TopK(k));
    std::vector<Sink*> sinks;
    for (TopK& sink : best) sinks.push_back(&sink);
    scan_lists(database, lists, n_lists, n, x, probes, sinks.data(), stats);
    for (size_t i = 0; i < n; i++) {
        const std::vector<Keyed> results = best[i].sorted();
        for (size_t j = 0; j < k; j++) {
            const bool found = j < results.size();
            distances[i * k + j] = sign * (found ? results[j].first : std::numeric_limits<float>::max());
            ids[i * k + j] = found ? results[j].second : -1;
        }
    }
}

std::vector<std::vector<Neighbour>> range_search_lists(const ListDatabase& database,
                                                       const InvertedList* lists, size_t n_lists, size_t n,
                                                       const float* x, float radius, const Probes& probes,
                                                       ListStats& stats) {
    const float sign = database.metric == Metric::L2 ? 1 : -1;
    std::vector<Within> within(n, Within(sign * radius));
    std::vector<Sink*> sinks;
    for (Within& sink : within) sinks.push_back(&sink);
    scan_lists(database, lists, n_lists, n, x, probes, sinks.data(), stats);
    std::vector<std::vector<Neighbour>> results(n);
    for (size_t i = 0; i < n; i++) {
        for (const auto& [key, id] : within[i].found) results[i].push_back({sign * key, id});
        std::sort(results[i].begin(), results[i].end(),
                  [](const Neighbour& a, const Neighbour& b) { return a.id < b.id; });
    }
    return results;
}

}  // namespace drq
