#include "core/thread_pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace drq {

namespace {

std::atomic<ThreadPool*> current{nullptr};

/// Leaves the processor a moment for something else.
inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");  // its own hint, yield, does nothing on most
#endif
}

/// Waits for a condition for some microseconds without giving up the CPU: sleeping and waking take longer
/// than the pause between two loops of one search.
template <class Condition>
bool spin_until(const Condition& condition) {
    constexpr std::chrono::microseconds kLongest{20};
    constexpr int kLooks = 32;  // between looks at the clock
    const auto end = std::chrono::steady_clock::now() + kLongest;
    do {
        for (int i = 0; i < kLooks; i++) {
            if (condition()) return true;
            pause();
        }
    } while (std::chrono::steady_clock::now() < end);
    return condition();
}

/// Blocks all signals of this thread, and so of threads it makes: the program's own threads handle them.
class SignalsBlocked {
  public:
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_;
};

}  // namespace

ThreadPool& ThreadPool::instance() {
    ThreadPool* pool = current.load(std::memory_order_acquire);
    if (pool) return *pool;
    auto* made = new ThreadPool;
    if (current.compare_exchange_strong(pool, made)) return *made;
    delete made;
    return *pool;
}

void ThreadPool::renew() {
    if (current.load()) current = new ThreadPool;
}

/// One call's time with the team: leaving waits for the threads that have joined.
class ThreadPool::Round {
  public:
    Round(ThreadPool& pool, size_t places, Function body, void* context) : pool_(pool) {
        {
            std::lock_guard<std::mutex> lock(pool_.mutex_);
            pool_.body_ = body;
            pool_.context_ = context;
            pool_.places_ = places;
        }
        for (size_t i = 0; i < places; i++) pool_.offered_.notify_one();
    }
    ~Round() {
        if (&pool_ == &instance()) finish(nullptr, nullptr);
        pool_.taken_.store(false, std::memory_order_release);
    }
    Round(const Round&) = delete;
    Round& operator=(const Round&) = delete;

    /// No thread joins any more; returns when those that did have left.
    void finish(Function waiting, void* context) {
        {
            std::lock_guard<std::mutex> lock(pool_.mutex_);
            pool_.places_ = 0;
        }
        const auto none = [this] { return pool_.helping_.load(std::memory_order_acquire) == 0; };
        if (spin_until(none)) return;
        constexpr std::chrono::milliseconds kInterval{100};
        std::unique_lock<std::mutex> lock(pool_.mutex_);
        while (!pool_.finished_.wait_for(lock, kInterval, none)) {
            if (!waiting) continue;
            lock.unlock();
            waiting(context);
            lock.lock();
        }
    }

  private:
    ThreadPool& pool_;
};

void ThreadPool::run(size_t threads, Function body, Function waiting, void* context) {
    if (threads < 2 || taken_.exchange(true, std::memory_order_acquire)) {
        body(context);
        return;
    }
    grow(threads - 1);
    Round round(*this, std::min<size_t>(threads - 1, size_), body, context);
    body(context);
    if (this != &instance()) throw std::runtime_error("this process was forked in the middle of the call");
    round.finish(waiting, context);
}

void ThreadPool::grow(size_t wanted) {
    if (size_ >= wanted) return;
    const SignalsBlocked blocked;
    try {
        for (; size_ < wanted; size_++) std::thread(&ThreadPool::work, this).detach();
    } catch (const std::system_error&) {  // no more can be made now: fewer will do
    } catch (const std::bad_alloc&) {
    }
}

void ThreadPool::work() {
    for (;;) {
        spin_until([this] { return places_.load(std::memory_order_relaxed) > 0; });
        {
            std::unique_lock<std::mutex> lock(mutex_);
            offered_.wait(lock, [this] { return places_ > 0; });
            places_--;
            helping_++;
        }
        help();
    }
}

/// Leaves the call also where the thread is ended in the middle of it.
void ThreadPool::help() {
    struct Leave {
        ThreadPool& pool;
        ~Leave() {
            std::lock_guard<std::mutex> lock(pool.mutex_);
            if (--pool.helping_ == 0) pool.finished_.notify_one();
        }
    } leave{*this};
    body_(context_);
}

}  // namespace drq
