#include "core/search/lists/ranking.h"

#include <algorithm>
#include <cmath>

#include "core/search/lists/exact_queries.h"
#include "core/search/lists/norms.h"
#include "core/search/results.h"

namespace drq {

namespace {

constexpr size_t kAhead = 8;      // vectors whose codes are fetched before they are needed
constexpr size_t kTogether = 32;  // queries whose tables are built at a time

size_t list_of(const Located& found) { return size_t(uint64_t(found.position) >> 32); }
size_t row_of(const Located& found) { return size_t(found.position & 0xffffffff); }

/// A few queries, ready to be compared with single codes.
class Ranking {
  public:
    /// Of queries x (n, d).
    Ranking(const ListDatabase& database, const InvertedList* lists, size_t n, const float* x)
        : database_(database),
          lists_(lists),
          queries_(database, n),
          norm_(database.quantizer, database.levels),
          code_(database.levels) {
        std::vector<const float*> rows(n);
        for (size_t i = 0; i < n; i++) rows[i] = x + i * database.quantizer.d;
        queries_.prepare(0, n, rows.data());
    }

    /// Offers what was found for query i, whose lists these are, to `best`. List by list, as each has to be
    /// entered.
    void rank(size_t i, const Probes& probes, std::vector<Located>& found, TopK& best) {
        if (!queries_.is_finite(i)) return;
        std::sort(found.begin(), found.end(),
                  [](const Located& a, const Located& b) { return a.position < b.position; });
        bool finite = false;
        for (size_t j = 0; j < found.size(); j++) {
            if (j + kAhead < found.size()) __builtin_prefetch(code(found[j + kAhead]));
            const size_t list = list_of(found[j]);
            if (j == 0 || list != list_of(found[j - 1])) finite = enter(i, list, probes);
            const float key = finite ? key_of(i, code(found[j])) : INFINITY;
            if (std::isfinite(key)) best.offer(key, found[j].second);
        }
    }

  private:
    const uint8_t* code(const Located& found) const {
        return lists_[list_of(found)].codes + row_of(found) * database_.code_size;
    }

    bool enter(size_t i, size_t list, const Probes& probes) {
        const int32_t* const probe = std::find(probes.list, probes.list + probes.per_query, int32_t(list));
        norm_.enter(lists_[list].centroid, database_.origin);
        return queries_.enter(i, lists_[list], probes.product ? probes.product[probe - probes.list] : 0);
    }

    float key_of(size_t i, const uint8_t* packed) {
        unpack_codes(database_.quantizer, {packed, 1, database_.code_size}, 0, 1, code_.size(), code_.data());
        return queries_.key(i, code_.data(), queries_[i].l2 ? norm_(code_.data()) : 0);
    }

    const ListDatabase& database_;
    const InvertedList* lists_;
    ExactListQueries queries_;
    ListNorm norm_;
    std::vector<int32_t> code_;
};

}  // namespace

void Shortlist::offer(float key, int64_t position) {
    Located found{{key, 0}, position};
    found.second = lists_[list_of(found)].id(row_of(found));
    take(found);
}

void rank_located(const ListDatabase& database, const InvertedList* lists, const Probes& probes,
                  const float* x, std::vector<Shortlist>& shortlists, size_t k, float* distances,
                  int64_t* ids, Checkpoint& checkpoint) {
    const size_t fitting = kCachedTableBytes / ExactListQueries::bytes(database);
    const size_t together = std::clamp<size_t>(fitting, 1, kTogether);
    for (size_t first = 0; first < shortlists.size(); first += together) {
        const size_t last = std::min(first + together, shortlists.size());
        Ranking ranking(database, lists, last - first, x + first * database.quantizer.d);
        for (size_t i = first; i < last; i++) {
            std::vector<Located>& found = shortlists[i].sorted();
            TopK best(k);
            ranking.rank(i - first, probes.from(i), found, best);
            write_nearest(best, k, database.metric, distances + i * k, ids + i * k);
            checkpoint.pass(found.size() * database.levels);
        }
    }
}

}  // namespace drq
