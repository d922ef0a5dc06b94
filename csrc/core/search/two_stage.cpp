#include "core/search/two_stage.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/search/exact_queries.h"
#include "core/search/flat.h"
#include "core/search/norms.h"
#include "core/search/results.h"

namespace drq {

namespace {

constexpr size_t kMostShortlisted = 1 << 20;  // at a time, of all queries
constexpr size_t kMostQueries = 32;           // of a task
constexpr size_t kTableBytes = 1 << 20;       // of their tables: codebooks are read once for all of them

/// Exact distances of single vectors.
class Ranking {
  public:
    Ranking(const Database& database, size_t n, const float* x)
        : database_(database),
          queries_(database, n, x),
          norm_(database.quantizer, database.levels),
          code_(database.levels) {}

    /// Offers those of `count` vectors that are there, −1 is none, by their distances to query i.
    void rank(size_t i, const int64_t* shortlist, size_t count, TopK& best) {
        if (!queries_.is_finite(i)) return;
        const ScanQuery& query = queries_[i];
        for (size_t j = 0; j < count && shortlist[j] >= 0; j++) {
            if (j + kAhead < count && shortlist[j + kAhead] >= 0)
                prefetch_code(database_, size_t(shortlist[j + kAhead]));
            const float key = key_of(query, size_t(shortlist[j]));
            if (std::isfinite(key)) best.offer(key, shortlist[j]);
        }
    }

  private:
    static constexpr size_t kAhead = 8;  // vectors whose codes are fetched before they are needed

    float key_of(const ScanQuery& query, size_t row) {
        unpack_code(database_, row, code_.data());
        const auto code_of = [&](size_t m) { return code_[m]; };
        const float norm = query.l2 ? norm_(code_.data()) : 0;
        return query.key(query.sum(code_.size(), code_of), norm, code_of);
    }

    const Database& database_;
    const ExactQueries queries_;
    ReconstructionNorm norm_;
    std::vector<int32_t> code_;
};

/// The same for n queries whose shortlists (n, length) have been found.
void rank_all(const Database& database, size_t n, const float* x, size_t length, const int64_t* shortlists,
              size_t k, float* distances, int64_t* ids, const Executor& executor) {
    const size_t table = LutLayout(database.quantizer, database.levels).size * sizeof(float);
    const size_t threads = size_t(executor.threads()), of_thread = (n + threads - 1) / threads;
    const size_t batch = std::clamp<size_t>(std::min(kTableBytes / table, of_thread), 1, kMostQueries);
    parallel_for(executor, (n + batch - 1) / batch, [&](size_t task, Checkpoint& checkpoint) {
        const size_t first = task * batch, count = std::min(batch, n - first);
        if (const Tail* tail = database.tail; tail && tail->expect)  // while tables are computed
            for (size_t i = 0; i < count; i++)
                tail->expect(tail->self, shortlists + (first + i) * length, length);
        Ranking ranking(database, count, x + first * database.quantizer.d);
        for (size_t i = 0; i < count; i++) {
            const size_t query = first + i;
            TopK best(k);
            ranking.rank(i, shortlists + query * length, length, best);
            write_nearest(best, k, database.metric, distances + query * k, ids + query * k);
            checkpoint.pass(length);
        }
    });
}

}  // namespace

void two_stage_search(const Database& database, const Refinement& refinement, size_t n, const float* x,
                      size_t k, float* distances, int64_t* ids, const Executor& executor) {
    const size_t N = database.codes.n;
    const size_t length = k >= N || refinement.factor >= N / k ? N : k * refinement.factor;
    if (!refinement.factor || refinement.levels == database.levels || length == 0)
        return knn_search(database, n, x, k, distances, ids, executor);
    Database ranked{database.quantizer, database.codes, refinement.levels, database.metric};
    ranked.tail = database.tail;
    const size_t slice = std::max<size_t>(1, kMostShortlisted / length);
    std::vector<float> hot(std::min(slice, n) * length);
    std::vector<int64_t> shortlists(hot.size());
    for (size_t first = 0; first < n; first += slice) {
        const size_t count = std::min(slice, n - first);
        const float* queries = x + first * database.quantizer.d;
        knn_search(database, count, queries, length, hot.data(), shortlists.data(), executor);
        rank_all(ranked, count, queries, length, shortlists.data(), k, distances + first * k, ids + first * k,
                 executor);
    }
}

}  // namespace drq
