// How the core runs work on several threads without owning any: the caller hands in an Executor.
#pragma once

#include <cxxabi.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>

namespace drq {

/// A team of threads that somebody else owns (the process's ThreadPool, or just the calling thread).
class Executor {
  public:
    virtual ~Executor() = default;

    /// How many threads run() will use at most, at least 1.
    virtual int threads() const { return 1; }

    /// Calls body(context) on the calling thread, and on others of the team as far as they are free, and
    /// returns when all have returned. A calling thread that waits for the others calls waiting(context)
    /// about ten times a second.
    virtual void run(void (*body)(void*), [[maybe_unused]] void (*waiting)(void*), void* context) const {
        body(context);
    }

    /// Throws what is to end the work, for example because the user pressed Ctrl-C. Loops ask about ten times
    /// a second, on the thread that started them.
    virtual void check_interrupt() const {}
};

/// What the threads of one loop share: which item is next, and whether to stop.
class Loop {
  public:
    Loop(const Executor& executor, size_t items) : executor_(executor), items_(items) {}

    /// Hands out the next item; false if there is none left.
    bool take(size_t& item) { return (item = next_++) < items_ && !stopped_.load(std::memory_order_relaxed); }

    /// Stops the loop with the exception that is being handled, unless another came first.
    void fail() {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!error_) error_ = std::current_exception();
        stopped_ = true;
    }

    /// Asks whether to stop, in the thread that started the loop.
    void ask() {
        constexpr std::chrono::milliseconds kInterval{100};
        const auto now = std::chrono::steady_clock::now();
        if (now - asked_ < kInterval) return;
        asked_ = now;
        executor_.check_interrupt();
    }

    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }
    bool is_caller() const { return std::this_thread::get_id() == caller_; }

    void rethrow() const {
        if (error_) std::rethrow_exception(error_);
    }

  private:
    const Executor& executor_;
    const size_t items_;
    const std::thread::id caller_ = std::this_thread::get_id();
    std::chrono::steady_clock::time_point asked_ = std::chrono::steady_clock::now();  ///< by the caller
    std::atomic<size_t> next_{0};
    std::atomic<bool> stopped_{false};
    std::mutex mutex_;
    std::exception_ptr error_;
};

/// Where one thread of a loop may stop in the middle of a long item.
class Checkpoint {
  public:
    explicit Checkpoint(Loop& loop) : loop_(loop), asks_(loop.is_caller()) {}

    /// To be called after so much work, counted in distances or anything else that takes about a nanosecond.
    /// Throws if the loop is to stop.
    void pass(size_t work) {
        constexpr size_t kStep = 1 << 17;  // between looks at the clock
        if ((work_ += work) >= kStep) look();
    }

    void look() {
        work_ = 0;
        if (loop_.stopped()) throw Stopped();
        if (asks_) loop_.ask();
    }

  private:
    /// Leaves an item of a loop that has failed elsewhere.
    struct Stopped {};

    Loop& loop_;
    const bool asks_;
    size_t work_ = 0;
};

/// Calls f(i, checkpoint) for every i in [0, n), items handed out one at a time. The first exception stops
/// the loop and is thrown again here: none may cross a foreign thread's stack.
template <class F>
void parallel_for(const Executor& executor, size_t n, const F& f) {
    struct Shared {
        const F& f;
        Loop loop;
    } shared{f, {executor, n}};
    const auto body = [](void* context) {
        Shared& all = *static_cast<Shared*>(context);
        Checkpoint checkpoint(all.loop);
        try {
            for (size_t i; all.loop.take(i); checkpoint.look()) all.f(i, checkpoint);
        } catch (abi::__forced_unwind&) {
            throw;  // the thread is being ended, which cannot be stopped
        } catch (...) {
            all.loop.fail();
        }
    };
    const auto waiting = [](void* context) {
        Loop& loop = static_cast<Shared*>(context)->loop;
        try {
            loop.ask();
        } catch (...) {
            loop.fail();
        }
    };
    if (n <= 1 || executor.threads() == 1)
        body(&shared);
    else
        executor.run(body, waiting, &shared);
    shared.loop.rethrow();
}

}  // namespace drq
