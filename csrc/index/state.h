// What the plug-in knows about one adopted index beyond what FAISS stores in it.
//
// FAISS owns the object, so its state lives beside it, found by the object's address and erased when the
// object is destroyed.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/encode/encoder.h"
#include "core/executor.h"
#include "core/quantizer.h"
#include "index/fingerprint.h"
#include "index/fork_mutex.h"
#include "index/view.h"

namespace drq {

/// Cached norms of one code length: how many, and the bytes held for them.
using NormCount = std::pair<size_t, size_t>;
void count_norms(const std::vector<float>& norms, NormCount& count);

/// Makes room for n norms: for no more at first, for an eighth more when they grow, so that appending row by
/// row stays cheap.
void make_room(std::vector<float>& norms, size_t n);

/// After norms were removed: keeps no more room than growing would have left.
void release_unused(std::vector<float>& norms);

/// How many levels of codes a search looks at. In search parameters and as an index's default 0 leaves it to
/// the next in line.
struct Depth {
    size_t levels = 0;         ///< that are scanned; 0 in the end: all
    size_t refine_levels = 0;  ///< that the nearest are ranked by; 0 in the end: all
    size_t refine_factor = 0;  ///< how many times as many as results are ranked; 0 in the end: none

    /// This where it says something, else the other.
    Depth or_else(const Depth& other) const {
        return {levels ? levels : other.levels, refine_levels ? refine_levels : other.refine_levels,
                refine_factor ? refine_factor : other.refine_factor};
    }

    /// The numbers for codes of M levels, of which `tail` cannot be scanned. Throws std::invalid_argument for
    /// one that is out of range.
    Depth checked(size_t M, size_t tail = 0) const;
};

/// Options, and caches that are built on first use. All functions may be called from any thread.
///
/// Searching while the index changes is undefined in FAISS, but the caches must be right once it is quiet:
/// what is computed for a view that was read before or during a change is not kept.
///
/// The caches must follow codes and codebooks. The hooks of flat_class.cpp and ivf_vectors.cpp report every
/// change that goes through the index. Changes around it (a vector overwritten from Python, an index emptied
/// as the source of a merge_from) are noticed by pointers, sizes and a sample of the values, checked at each
/// use.
class IndexState {
  public:
    IndexState();
    virtual ~IndexState() = default;

    /// What searches do that name no numbers.
    Depth depth() const { return {levels, refine_levels, refine_factor}; }
    std::atomic<size_t> levels{0}, refine_levels{0}, refine_factor{0};

    std::string training() const;
    void set_training(const std::string& options);

    /// What each level's gain counts when vectors are encoded, as in drq::Encoder.
    void set_gain_weights(const std::vector<float>& weights);

    std::shared_ptr<const Encoder> encoder(const QuantizerView& view);

    Version version() const { return {begun_, ended_}; }

    /// Codes were replaced: drops what was made of them.
    void forget_codes();

    /// Anything may have changed.
    virtual void forget();

    /// Code lengths with cached norms.
    virtual std::map<size_t, NormCount> cached_norms() const = 0;

    /// In a forked child: whether no other thread was using what the mutex protects.
    bool survived_fork();

    /// An empty state of the same kind, and how it gets what users have set.
    virtual std::shared_ptr<IndexState> anew() const = 0;
    void take_options(const IndexState& other);

  protected:
    /// Makes quantizer_ the one of the index's codebooks now. All of them are compared with what they were if
    /// the call reads many more bytes of codes, `work`; else a part, another one at every call. Needs the
    /// mutex.
    void check_codebooks(const QuantizerView& view, size_t work = 0);

    /// Whether what is computed of a view may be kept, and what was kept used for it: no change has begun
    /// since it was read. Needs the mutex, with which no change begins.
    bool is_current(const IndexView& view) const {
        return view.version.is_quiet() && version() == view.version;
    }

    /// Drop what was made of codes, and of codebooks as well. Need the mutex.
    virtual void drop_codes_caches() = 0;
    virtual void drop_caches() = 0;

    mutable std::mutex mutex_;
    std::shared_ptr<const Quantizer> quantizer_;

  private:
    friend class Change;

    /// What the codebooks looked like when something was cached about them.
    struct CodebooksMark {
        const float* data = nullptr;
        size_t size = 0;
        std::vector<int> nbits;
        bool operator==(const CodebooksMark& other) const;
    };
    static CodebooksMark mark_codebooks(const QuantizerView& view);

    /// What users have set; replaced as a whole.
    struct Options {
        std::string training;
        std::vector<float> gain_weights;
    };
    std::shared_ptr<const Options> options() const;
    void set_options(Options options);

    std::shared_ptr<const Options> options_;  ///< needs options_mutex(), which no fork catches in between
    std::shared_ptr<const Encoder> encoder_;
    CodebooksMark codebooks_;
    Fingerprint codebooks_fingerprint_;
    std::atomic<uint64_t> begun_{0}, ended_{0};
};

/// One change of an index's codes, as long as it takes. Caches are dropped at its end unless they are kept.
class Change {
  public:
    explicit Change(IndexState& state);
    ~Change();
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

    /// The caches are right for the codes as they are now, if no other change was made at the same time.
    /// Needs the mutex if caches were changed for it.
    bool keep_caches() { return kept_ = is_alone(); }

  private:
    bool is_alone() const {
        return before_.is_quiet() && state_.version() == Version{before_.begun + 1, before_.ended};
    }

    IndexState& state_;
    Version before_;
    bool kept_ = false;
};

/// An executor for work under a lock. The lock is open while signals are handled: a handler may search the
/// same index. What the lock protects must be looked at anew after the work.
class UnlockingExecutor final : public Executor {
  public:
    UnlockingExecutor(const Executor& executor, std::unique_lock<std::mutex>& lock)
        : executor_(executor), lock_(lock) {}

    int threads() const override { return executor_.threads(); }
    void run(void (*body)(void*), void (*waiting)(void*), void* context) const override {
        executor_.run(body, waiting, context);
    }
    void check_interrupt() const override;

  private:
    const Executor& executor_;
    std::unique_lock<std::mutex>& lock_;
};

/// The state of an adopted index. Throws std::logic_error for any other address.
std::shared_ptr<IndexState> state_of(const void* index);

/// The same, but null for an index that is not adopted.
std::shared_ptr<IndexState> find_state(const void* index);

/// What protects the states' table and all states' options; see fork.h.
ForkMutex& states_mutex();
ForkMutex& options_mutex();

/// In a forked child: replaces the states that another thread was using.
void renew_states();

void add_state(const void* index, std::shared_ptr<IndexState> state);
void erase_state(const void* index);
size_t state_count();

}  // namespace drq
