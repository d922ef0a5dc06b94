// How the core runs work on several threads without owning any: the caller hands in an Executor.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>

namespace drq {

/// A team of threads that somebody else owns (FAISS's OpenMP runtime, or just the calling thread).
class Executor {
  public:
    virtual ~Executor() = default;

    /// How many threads run() will use at most, at least 1.
    virtual int threads() const { return 1; }

    /// Calls body(context) once on every thread of the team and returns when all have returned.
    virtual void run(void (*body)(void*), void* context) const { body(context); }
};

/// Calls f(i) for every i in [0, n), items handed out one at a time. The first exception stops the loop
/// and is thrown again here: none may cross a foreign thread's stack.
template <class F>
void parallel_for(const Executor& executor, size_t n, const F& f) {
    if (n <= 1 || executor.threads() == 1) {
        for (size_t i = 0; i < n; i++) f(i);
        return;
    }
    struct Loop {
        const F& f;
        const size_t n;
        std::atomic<size_t> next{0};
        std::exception_ptr error;
        std::mutex mutex;
    } loop{f, n, {}, {}, {}};
    executor.run(
        [](void* context) {
            Loop& loop = *static_cast<Loop*>(context);
            for (size_t i; (i = loop.next++) < loop.n;) {
                try {
                    loop.f(i);
                } catch (...) {
                    std::lock_guard<std::mutex> lock(loop.mutex);
                    if (!loop.error) loop.error = std::current_exception();
                    loop.next = loop.n;
                }
            }
        },
        &loop);
    if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace drq
