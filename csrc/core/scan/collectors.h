// Where a scan's results go. Keys are distances turned so that smaller is nearer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace drq {

/// A result: (key, id). Compared as a pair, so equal keys are ordered by id.
using Keyed = std::pair<float, int64_t>;

/// Receives every vector whose key is at most bound(). Keys are numbers, NaN is none.
class Sink {
  public:
    virtual ~Sink() = default;
    virtual void offer(float key, int64_t id) = 0;

    /// Lowers the bound to what is known already.
    virtual void tighten() {}

    /// No vector with a larger key can change the result any more.
    float bound() const { return bound_; }

    /// How many results are wanted; 0: all within a bound that does not move.
    virtual size_t wanted() const { return 0; }

    /// As many as are wanted are likely to have keys of at most `key`: larger ones need not be offered.
    virtual void guess_bound(float) {}

    /// Whether such a guess, now that all vectors were offered, was wrong.
    virtual bool is_misled() const { return false; }

    /// Forgets what was offered, and the guess.
    virtual void restart() {}

  protected:
    float bound_ = std::numeric_limits<float>::infinity();
};

/// Keeps the k smallest results, each a Keyed and perhaps more. Collects up to twice as many and halves them
/// when full: cheaper than a heap.
template <class Result>
class Smallest : public Sink {
  public:
    explicit Smallest(size_t k) : k_(k) {}

    size_t wanted() const override { return k_; }

    void tighten() override {
        if (kept_.size() >= k_) shrink();
    }

    void guess_bound(float key) override {
        bound_ = std::min(bound_, key);
        guessed_ = true;
    }

    bool is_misled() const override { return guessed_ && kept_.size() < k_; }

    void restart() override {
        bound_ = std::numeric_limits<float>::infinity();
        guessed_ = false;
        kept_.clear();
        worst_ = kNone;
    }

    /// Takes over another sink's results for the same query.
    void merge(const Smallest& other) {
        for (const Result& result : other.kept_) take(result);
    }

    /// The k smallest or fewer, in order.
    std::vector<Result>& sorted();

  protected:
    void take(const Result& result) {
        if (!(result < worst_)) return;
        if (kept_.empty()) kept_.reserve(std::min<size_t>(2 * k_, 64));
        kept_.push_back(result);
        if (kept_.size() >= 2 * k_) shrink();
    }

  private:
    static constexpr Keyed kNone{std::numeric_limits<float>::infinity(), std::numeric_limits<int64_t>::max()};

    void shrink();

    size_t k_;
    bool guessed_ = false;
    std::vector<Result> kept_;
    Keyed worst_ = kNone;
};

/// Keeps the k nearest.
class TopK final : public Smallest<Keyed> {
  public:
    using Smallest::Smallest;
    void offer(float key, int64_t id) override { take({key, id}); }
};

/// A result, and where a scan has found it.
struct Located : Keyed {
    int64_t position;
};

/// Keeps every key strictly below a limit.
class Within final : public Sink {
  public:
    explicit Within(float limit) { bound_ = limit; }

    void offer(float key, int64_t id) override {
        if (key < bound_) found.emplace_back(key, id);
    }

    std::vector<Keyed> found;
};

}  // namespace drq
