#include "core/search/lists/search.h"

#include <algorithm>
#include <cmath>

#include "core/scan/block_scan.h"
#include "core/scan/collectors.h"
#include "core/search/lists/queries.h"
#include "core/search/lists/scan.h"
#include "core/search/results.h"

namespace drq {

namespace {

constexpr size_t kMostQueries = 512;     // at a time: more do not share much more
constexpr size_t kTableBytes = 1 << 24;  // of float tables that a thread keeps for the queries at a time
constexpr size_t kChunk = 32;            // whose tables are in the caches when they scan their first list

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
            scan_ranks(first, count, 0, 1, stats);
        }
        scan_ranks(0, n_, 1, probes_.per_query, stats);
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

    template <class F>
    void for_each_probe(size_t first, size_t count, size_t first_rank, size_t last_rank, const F& f) const {
        for (size_t i = first; i < first + count; i++) {
            if (!queries_.is_finite(i)) continue;
            const size_t row = order_[i] * probes_.per_query;
            for (size_t p = row + first_rank; p < row + last_rank; p++)
                if (probes_.list[p] >= 0)
                    f(size_t(probes_.list[p]), Visit{uint32_t(i), probes_.product ? probes_.product[p] : 0});
        }
    }

    /// Probes of some ranks of some queries, list by list.
    void scan_ranks(size_t first, size_t count, size_t first_rank, size_t last_rank, ListStats& stats) {
        begin_.assign(n_lists_ + 1, 0);
        for_each_probe(first, count, first_rank, last_rank, [&](size_t list, Visit) { begin_[list + 1]++; });
        for (size_t l = 0; l < n_lists_; l++) begin_[l + 1] += begin_[l];
        visits_.resize(begin_[n_lists_]);
        next_.assign(begin_.begin(), begin_.end() - 1);
        for_each_probe(first, count, first_rank, last_rank,
                       [&](size_t list, Visit visit) { visits_[next_[list]++] = visit; });
        for (size_t l = 0; l < n_lists_; l++)
            if (begin_[l] < begin_[l + 1] && lists_[l].n > 0)
                scan_list(lists_[l], visits_.data() + begin_[l], begin_[l + 1] - begin_[l], stats);
    }

    void scan_list(const InvertedList& list, const Visit* visits, size_t count, ListStats& stats) {
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

    /// Calls write(query, sink) with each query's sink, a copy of `empty` with the probed vectors in it.
    template <class SinkType, class Write>
    void run(const SinkType& empty, const Write& write) const {
        const size_t threads = size_t(executor.threads());
        const size_t table_bytes = LutLayout(database.quantizer, database.levels).size * sizeof(float);
        const size_t most = std::min(kMostQueries, kTableBytes / table_bytes);
        const size_t size = std::max<size_t>(1, std::min(most, (n + threads - 1) / threads));
        std::vector<ListStats> done((n + size - 1) / size);
        parallel_for(executor, done.size(), [&](size_t batch, Checkpoint& checkpoint) {
            const size_t first = batch * size, count = std::min(size, n - first);
            std::vector<SinkType> sinks(count, empty);
            scan(first, sinks, done[batch], checkpoint);
            for (size_t i = 0; i < count; i++) write(first + i, sinks[i]);
        });
        for (const ListStats& part : done) {
            stats.lists += part.lists;
            stats.vectors += part.vectors;
        }
    }

  private:
    template <class SinkType>
    void scan(size_t first, std::vector<SinkType>& sinks, ListStats& done, Checkpoint& checkpoint) const {
        std::vector<Sink*> pointers;
        for (SinkType& sink : sinks) pointers.push_back(&sink);
        const size_t probe = first * probes.per_query;
        const Probes own{probes.per_query, probes.list + probe,
                         probes.product ? probes.product + probe : nullptr};
        Batch(database, lists, n_lists, sinks.size(), x + first * database.quantizer.d, own, pointers.data(),
              checkpoint)
            .scan(done);
    }
};

}  // namespace

void knn_search_lists(const ListDatabase& database, const InvertedList* lists, size_t n_lists, size_t n,
                      const float* x, const Probes& probes, size_t k, float* distances, int64_t* ids,
                      ListStats& stats, const Executor& executor) {
    Search{database, lists, n_lists, n, x, probes, stats, executor}.run(TopK(k), [&](size_t i, TopK& best) {
        write_nearest(best, k, database.metric, distances + i * k, ids + i * k);
    });
}

std::vector<std::vector<Neighbour>> range_search_lists(const ListDatabase& database,
                                                       const InvertedList* lists, size_t n_lists, size_t n,
                                                       const float* x, float radius, const Probes& probes,
                                                       ListStats& stats, const Executor& executor) {
    std::vector<std::vector<Neighbour>> results(n);
    Search{database, lists, n_lists, n, x, probes, stats, executor}.run(
        Within(key_sign(database.metric) * radius),
        [&](size_t i, Within& within) { results[i] = by_id(&within, 1, database.metric); });
    return results;
}

}  // namespace drq
