#include "core/search/flat.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "core/luts.h"
#include "core/scan/block_scan.h"
#include "core/scan/bounds.h"
#include "core/scan/codeword_groups.h"
#include "core/scan/packer.h"
#include "core/scan/planes.h"
#include "core/search/exact_queries.h"
#include "core/search/results.h"

namespace drq {

namespace {

constexpr size_t kMostQueries = 128;        // of a task: their byte tables share the cache with a block
constexpr size_t kMostResults = 1 << 20;    // collected per task
constexpr size_t kMostCollected = 1 << 22;  // collected at a time by all tasks
constexpr size_t kFewestVectors = 1 << 13;  // of a task: fewer are not worth another thread
constexpr size_t kFewestSteps = 64, kMostSteps = 256;  // one vector of so many is looked at first:
constexpr size_t kSampledAhead = 12800;  // of so many over the results wanted, within these limits,
constexpr size_t kSamplePerRank = 8;     // if that gives so many times as many as `rank_in_sample`

/// The rank in a sample behind which all results are but for about one time in 100,000, if so many of them
/// are expected there: four standard deviations of a rare event's count further, and three more.
size_t rank_in_sample(double expected) { return size_t(std::ceil(expected + 4 * std::sqrt(expected) + 3)); }

/// The database with what pays in a search for n queries, and the quantizer of its codes' numbers.
Database chosen(const Database& database, size_t n) {
    const size_t group = levels_per_plane(database.kernels, database.quantizer, database.levels);
    const bool planes = database.planes && !database.selector && database.planes->group() == group &&
                        database.planes->levels() >= database.levels;
    const bool pays = renumbering_pays(database.kernels, database.quantizer, n);
    const Renumbered* renumbered = planes ? database.planes->renumbered()
                                   : pays ? database.renumbered
                                          : nullptr;
    return {renumbered ? renumbered->quantizer : database.quantizer,
            database.codes,
            database.levels,
            database.metric,
            database.norms,
            database.selector,
            renumbered,
            planes ? database.planes : nullptr,
            database.kernels};
}

/// A batch of queries ready to scan.
class QueryBatch {
  public:
    QueryBatch(const Database& database, size_t n, const float* x, Sink* const* sinks, double share)
        : database_(database),
          exact_(database, n, x),
          scorer_(database.kernels, database.quantizer, database.levels, exact_.layout(),
                  database.norms.lowest, share, database.renumbered),
          tables_(n * scorer_.table_bytes()) {
        queries_.reserve(n);
        for (size_t i = 0; i < n; i++)
            if (exact_.is_finite(i)) add_query(i, sinks[i]);
        for (ScanQuery& query : queries_) order_.push_back(&query);
        sort_by_unit(order_);
    }
    QueryBatch(const QueryBatch&) = delete;  // it points into itself
    QueryBatch& operator=(const QueryBatch&) = delete;

    void scan(size_t begin, size_t end, Checkpoint& checkpoint) {
        BlockPacker packer(database_, end - begin);
        scan_blocks(packer, begin, end, sample(packer, begin, end), checkpoint);
        keep_misled();
        if (!order_.empty()) scan_blocks(packer, begin, end, begin, checkpoint);
    }

  private:
    /// Starts with the block of vector `start`.
    void scan_blocks(BlockPacker& packer, size_t begin, size_t end, size_t start, Checkpoint& checkpoint) {
        const size_t capacity = packer.capacity(), blocks = (end - begin + capacity - 1) / capacity;
        // Far-apart blocks in turn, so that vectors stored farthest first do not raise the bound one by one.
        size_t stride = size_t(double(blocks) * 0.618) | 1;
        while (std::gcd(stride, blocks) != 1) stride += 2;
        for (size_t i = 0, b = (start - begin) / capacity; i < blocks; i++, b = (b + stride) % blocks) {
            const size_t first = begin + b * capacity;
            const ScanBlock& block = packer.pack(first, std::min(first + capacity, end));
            if (block.n > 0) scan_block(packer, block);
            checkpoint.pass(block.n * order_.size());
        }
    }

    void add_query(size_t i, Sink* sink) {
        queries_.push_back(exact_[i]);
        ScanQuery& query = queries_.back();
        query.sink = sink;
        if (query.l2) scorer_.set_stray(query, {exact_.length(i), 0, exact_.length(i)});
        scorer_.quantize(query, tables_.data() + i * scorer_.table_bytes());
    }

    /// Gives queries for the k nearest a first bound, from vectors all over the range: whatever the order
    /// they are stored in, few of the rest get past it. It is a guess from how many of the results are likely
    /// among these. Returns where the first query's nearest is, to start there: the bound is tight at once.
    size_t sample(BlockPacker& packer, size_t begin, size_t end) {
        const size_t wanted = queries_.empty() ? 0 : queries_[0].sink->wanted();
        if (wanted == 0) return begin;
        const size_t step = std::max(std::clamp(kSampledAhead / wanted, kFewestSteps, kMostSteps),
                                     (end - begin + packer.capacity() - 1) / packer.capacity());
        const size_t rank = std::min(wanted, rank_in_sample(double(wanted) / double(step)));
        if (rank * kSamplePerRank * step > end - begin) return begin;
        std::vector<TopK> nearest(queries_.size(), TopK(rank));
        std::vector<Sink*> sinks;
        for (size_t i = 0; i < queries_.size(); i++) {
            sinks.push_back(queries_[i].sink);
            queries_[i].sink = &nearest[i];
        }
        scan_block(packer, packer.pack(begin, end, step));
        size_t start = begin;
        for (size_t i = queries_.size(); i-- > 0;) {
            const std::vector<Keyed>& found = nearest[i].sorted();
            if (!found.empty()) start = size_t(found[0].second);
            queries_[i].sink = sinks[i];
            if (found.size() == rank) sinks[i]->guess_bound(found.back().first);
            queries_[i].refresh();
        }
        return start;
    }

    /// Leaves the queries that guessed a bound too low, as if they had seen no vector.
    void keep_misled() {
        const auto was_right = [](const ScanQuery* query) { return !query->sink->is_misled(); };
        order_.erase(std::remove_if(order_.begin(), order_.end(), was_right), order_.end());
        for (ScanQuery* query : order_) {
            query->sink->restart();
            query->refresh();
        }
    }

    void scan_block(BlockPacker& packer, const ScanBlock& block) {
        scan_by_unit(scorer_, packer, block, order_.data(), order_.size());
    }

    const Database& database_;
    const ExactQueries exact_;
    const Scorer scorer_;
    std::vector<uint8_t> tables_;
    std::vector<ScanQuery> queries_;
    std::vector<ScanQuery*> order_;
};

/// How queries and vectors are cut into tasks.
struct Plan {
    double share;  ///< of the vectors that are results, about
    size_t batch;  ///< queries per task
    size_t batches;
    size_t ranges;  ///< of vectors
    size_t range;   ///< vectors per task

    Plan(const Database& database, size_t n, size_t results, const Executor& executor) {
        const size_t threads = size_t(executor.threads()), vectors = database.codes.n;
        share = double(results) / double(std::max<size_t>(vectors, 1));
        const size_t lut_bytes = LutLayout(database.quantizer, database.levels).size * sizeof(float);
        batch = std::min({kMostQueries, kCachedTableBytes / lut_bytes,
                          kMostResults / std::max<size_t>(results, 1), (n + threads - 1) / threads});
        batch = std::max<size_t>(batch, 1);
        batches = (n + batch - 1) / batch;
        ranges = batches >= threads ? 1 : (threads + batches - 1) / batches;
        ranges = std::max<size_t>(1, std::min(ranges, vectors / kFewestVectors));
        const size_t unit = database.planes ? database.planes->stride() : 1;
        range = std::max<size_t>(1, (vectors + ranges * unit - 1) / (ranges * unit)) * unit;
        ranges = std::max<size_t>(1, (vectors + range - 1) / range);
    }

    size_t tasks() const { return batches * ranges; }
};

/// Runs all tasks; sink(query, range) is where results go.
template <class SinkOf>
void scan_all(const Database& database, const Plan& plan, size_t n, const float* x, const SinkOf& sink_of,
              const Executor& executor) {
    parallel_for(executor, plan.tasks(), [&](size_t task, Checkpoint& checkpoint) {
        const size_t first = task / plan.ranges * plan.batch, count = std::min(plan.batch, n - first);
        const size_t range = task % plan.ranges, begin = range * plan.range;
        std::vector<Sink*> sinks(count);
        for (size_t i = 0; i < count; i++) sinks[i] = sink_of(first + i, range);
        QueryBatch batch(database, count, x + first * database.quantizer.d, sinks.data(), plan.share);
        batch.scan(begin, std::min(begin + plan.range, database.codes.n), checkpoint);
    });
}

void search_slice(const Database& database, size_t n, const float* x, size_t k, float* distances,
                  int64_t* ids, const Executor& executor) {
    const Plan plan(database, n, k, executor);
    std::vector<TopK> sinks(n * plan.ranges, TopK(k));
    scan_all(
        database, plan, n, x, [&](size_t query, size_t range) { return &sinks[query * plan.ranges + range]; },
        executor);
    parallel_for(executor, plan.batches, [&](size_t batch, Checkpoint&) {
        for (size_t q = batch * plan.batch; q < std::min((batch + 1) * plan.batch, n); q++) {
            TopK& best = sinks[q * plan.ranges];
            for (size_t range = 1; range < plan.ranges; range++) best.merge(sinks[q * plan.ranges + range]);
            write_nearest(best, k, database.metric, distances + q * k, ids + q * k);
        }
    });
}

}  // namespace

void knn_search(const Database& all, size_t n, const float* x, size_t k, float* distances, int64_t* ids,
                const Executor& executor) {
    const Database database = chosen(all, n);
    const size_t slice = std::max(kMostCollected / k, size_t(executor.threads()) * kMostQueries);
    for (size_t first = 0; first < n; first += slice)
        search_slice(database, std::min(slice, n - first), x + first * database.quantizer.d, k,
                     distances + first * k, ids + first * k, executor);
}

std::vector<std::vector<Neighbour>> range_search(const Database& all, size_t n, const float* x, float radius,
                                                 const Executor& executor) {
    if (n == 0) return {};
    const Database database = chosen(all, n);
    const Plan plan(database, n, 1, executor);
    std::vector<Within> sinks(n * plan.ranges, Within(key_sign(database.metric) * radius));
    scan_all(
        database, plan, n, x, [&](size_t query, size_t range) { return &sinks[query * plan.ranges + range]; },
        executor);
    std::vector<std::vector<Neighbour>> results(n);
    for (size_t q = 0; q < n; q++) results[q] = by_id(&sinks[q * plan.ranges], plan.ranges, database.metric);
    return results;
}

}  // namespace drq
