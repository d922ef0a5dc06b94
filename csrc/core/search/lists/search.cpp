#include "core/search/lists/search.h"

#include <algorithm>
#include <cmath>

#include "core/scan/block_scan.h"
#include "core/scan/collectors.h"
#include "core/search/lists/queries.h"
#include "core/search/lists/ranking.h"
#include "core/search/lists/scan.h"
#include "core/search/results.h"

namespace drq {

namespace {

constexpr size_t kMostQueries = 512;      // at a time: more do not share much more
constexpr size_t kQueryBytes = 1 << 24;   // of tables and all that a thread keeps for the queries at a time
constexpr size_t kMostResults = 1 << 20;  // that a thread keeps
constexpr size_t kEverything = SIZE_MAX / 4;
constexpr size_t kChunk = 32;  // whose tables are in the caches when they scan their first list

/// A query that looks at a list.
struct Visit {
    uint32_t query;
    float product;  ///< with the centroid, as in Probes
};

size_t longest(const InvertedList* lists, size_t n_lists) {
    size_t most = 0;
    for (size_t l = 0; l < n_lists; l++) most = std::max(most, lists[l].n);
    return most;
}

/// Queries that go through the lists together.
class Batch {
  public:
    Batch(const ListDatabase& database, const InvertedList* lists, size_t n_lists, size_t n, const float* x,
          const Probes& probes, Sink* const* sinks, Checkpoint& checkpoint)
        : database_(database),
          lists_(lists),
          n_lists_(n_lists),
          n_(n),
          x_(x),
          probes_(probes),
          sinks_(sinks),
          checkpoint_(checkpoint),
          queries_(database, n),
          scanner_(database, queries_.scorer(), longest(lists, n_lists)) {
        // Queries with the same nearest list next to each other.
        for (size_t i = 0; i < n; i++) order_.push_back(uint32_t(i));
        std::stable_sort(order_.begin(), order_.end(),
                         [&](uint32_t a, uint32_t b) { return nearest(a) < nearest(b); });
    }

    /// First every query's nearest list, so that all have a good bound when it comes to the others.
    void scan(ListStats& stats) {
        for (size_t first = 0; first < n_; first += kChunk) {
            const size_t count = std::min(kChunk, n_ - first);
            prepare(first, count);
            scan_nearest(first, first + count, stats);
        }
        scan_others(stats);
    }

  private:
    int32_t nearest(size_t query) const { return probes_.list[query * probes_.per_query]; }

    /// Tables of queries order_[first], …: their numbers in queries_ are those in the order.
    void prepare(size_t first, size_t count) {
        std::vector<const float*> x(count);
        std::vector<Sink*> sinks(count);
        for (size_t i = 0; i < count; i++) {
            x[i] = x_ + order_[first + i] * database_.quantizer.d;
            sinks[i] = sinks_[order_[first + i]];
        }
        queries_.prepare(first, count, x.data(), sinks.data());
    }

    Visit visit(size_t i, size_t probe) const {
        return {uint32_t(i), probes_.product ? probes_.product[probe] : 0};
    }

    /// The nearest lists of queries [first, last), which lie side by side.
    void scan_nearest(size_t first, size_t last, ListStats& stats) {
        for (size_t i = first; i < last;) {
            const int32_t list = nearest(order_[i]);
            visits_.clear();
            for (; i < last && nearest(order_[i]) == list; i++)
                if (queries_.is_finite(i)) visits_.push_back(visit(i, order_[i] * probes_.per_query));
            if (list >= 0) scan_list(lists_[list], visits_.data(), visits_.size(), stats);
        }
    }

    template <class F>
    void for_each_other(const F& f) const {
        for (size_t i = 0; i < n_; i++) {
            if (!queries_.is_finite(i)) continue;
            const size_t row = order_[i] * probes_.per_query;
            for (size_t p = row + 1; p < row + probes_.per_query; p++)
                if (probes_.list[p] >= 0) f(size_t(probes_.list[p]), visit(i, p));
        }
    }

    /// All but the nearest lists of all queries, list by list.
    void scan_others(ListStats& stats) {
        begin_.assign(n_lists_ + 1, 0);
        for_each_other([&](size_t list, Visit) { begin_[list + 1]++; });
        for (size_t l = 0; l < n_lists_; l++) begin_[l + 1] += begin_[l];
        visits_.resize(begin_[n_lists_]);
        next_.assign(begin_.begin(), begin_.end() - 1);
        for_each_other([&](size_t list, Visit visit) { visits_[next_[list]++] = visit; });
        for (size_t l = 0; l < n_lists_; l++)
            scan_list(lists_[l], visits_.data() + begin_[l], begin_[l + 1] - begin_[l], stats);
    }

    void scan_list(const InvertedList& list, const Visit* visits, size_t count, ListStats& stats) {
        if (count == 0 || list.n == 0) return;
        visitors_.clear();
        for (const Visit* visit = visits; visit < visits + count; visit++) {
            if (queries_.enter(visit->query, list, visit->product))
                visitors_.push_back(&queries_[visit->query]);
        }
        sort_by_unit(visitors_);
        stats.lists += visitors_.size();
        if (!visitors_.empty())
            stats.vectors += visitors_.size() * scanner_.scan(list, visitors_.data(), visitors_.size());
        checkpoint_.pass(count * list.n);
    }

    const ListDatabase& database_;
    const InvertedList* lists_;
    const size_t n_lists_, n_;
    const float* x_;
    const Probes& probes_;
    Sink* const* sinks_;
    Checkpoint& checkpoint_;
    ListQueries queries_;
    ListScanner scanner_;
    std::vector<uint32_t> order_;
    std::vector<size_t> begin_, next_;
    std::vector<Visit> visits_;
    std::vector<ScanQuery*> visitors_;
};

/// A search that threads take in batches of queries.
struct Search {
    const ListDatabase& database;
    const InvertedList* lists;
    size_t n_lists, n;
    const float* x;
    const Probes& probes;
    ListStats& stats;
    const Executor& executor;

    /// Calls write(first, sinks, checkpoint) for some queries at a time, from number `first` on, with a sink
    /// each: a copy of `empty` with the probed vectors in it.
    template <class SinkType, class Write>
    void run(const SinkType& empty, const Write& write) const {
        const size_t size = batch(empty.wanted());
        std::vector<ListStats> done((n + size - 1) / size);
        parallel_for(executor, done.size(), [&](size_t batch, Checkpoint& checkpoint) {
            const size_t first = batch * size, count = std::min(size, n - first);
            std::vector<SinkType> sinks(count, empty);
            scan(first, sinks, done[batch], checkpoint);
            write(first, sinks, checkpoint);
        });
        for (const ListStats& part : done) {
            stats.lists += part.lists;
            stats.vectors += part.vectors;
        }
    }

  private:
    /// Queries that a thread takes at a time.
    size_t batch(size_t results) const {
        const size_t threads = size_t(executor.threads());
        size_t vectors = 0;
        for (size_t l = 0; l < n_lists; l++) vectors += lists[l].n;
        results = std::max<size_t>(1, std::min(results, vectors));
        const size_t most =
            std::min({kMostQueries, kQueryBytes / ListQueries::bytes(database), kMostResults / results});
        return std::max<size_t>(1, std::min(most, (n + threads - 1) / threads));
    }

    template <class SinkType>
    void scan(size_t first, std::vector<SinkType>& sinks, ListStats& done, Checkpoint& checkpoint) const {
        std::vector<Sink*> pointers;
        for (SinkType& sink : sinks) pointers.push_back(&sink);
        Batch(database, lists, n_lists, sinks.size(), x + first * database.quantizer.d, probes.from(first),
              pointers.data(), checkpoint)
            .scan(done);
    }
};

}  // namespace

void knn_search_lists(const ListDatabase& database, const InvertedList* lists, size_t n_lists, size_t n,
                      const float* x, const Probes& probes, size_t k, float* distances, int64_t* ids,
                      ListStats& stats, const Executor& executor) {
    const Search search{database, lists, n_lists, n, x, probes, stats, executor};
    search.run(TopK(k), [&](size_t first, std::vector<TopK>& nearest, Checkpoint&) {
        for (size_t i = 0; i < nearest.size(); i++)
            write_nearest(nearest[i], k, database.metric, distances + (first + i) * k, ids + (first + i) * k);
    });
}

void two_stage_search_lists(const ListDatabase& database, const Refinement& refinement,
                            const InvertedList* lists, size_t n_lists, size_t n, const float* x,
                            const Probes& probes, size_t k, float* distances, int64_t* ids, ListStats& stats,
                            const Executor& executor) {
    if (!refinement.factor || refinement.levels == database.levels)
        return knn_search_lists(database, lists, n_lists, n, x, probes, k, distances, ids, stats, executor);
    std::vector<InvertedList> located(lists, lists + n_lists);
    for (size_t l = 0; l < n_lists; l++) located[l].first_position = first_position(l);
    ListDatabase scanned = database, ranked = database;
    scanned.by_position = true;
    ranked.levels = refinement.levels;
    const size_t length = refinement.factor < kEverything / k ? k * refinement.factor : kEverything;
    const Search search{scanned, located.data(), n_lists, n, x, probes, stats, executor};
    search.run(Shortlist(length, lists),
               [&](size_t first, std::vector<Shortlist>& shortlists, Checkpoint& checkpoint) {
                   rank_located(ranked, lists, probes.from(first), x + first * database.quantizer.d,
                                shortlists, k, distances + first * k, ids + first * k, checkpoint);
               });
}

std::vector<std::vector<Neighbour>> range_search_lists(const ListDatabase& database,
                                                       const InvertedList* lists, size_t n_lists, size_t n,
                                                       const float* x, float radius, const Probes& probes,
                                                       ListStats& stats, const Executor& executor) {
    std::vector<std::vector<Neighbour>> results(n);
    const Search search{database, lists, n_lists, n, x, probes, stats, executor};
    search.run(Within(key_sign(database.metric) * radius),
               [&](size_t first, std::vector<Within>& within, Checkpoint&) {
                   for (size_t i = 0; i < within.size(); i++)
                       results[first + i] = by_id(&within[i], 1, database.metric);
               });
    return results;
}

}  // namespace drq
