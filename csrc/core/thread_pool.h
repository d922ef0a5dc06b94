// Threads of our own: one team for the whole process.
//
// An OpenMP runtime gives every thread that enters a parallel region a team of its own, ends the process when
// it cannot make one, and leaves a forked child with a team whose threads do not exist.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace drq {

/// Threads that help one caller at a time. They are made when first wanted, never end, and take no signals.
class ThreadPool {
  public:
    using Function = void (*)(void*);

    /// The one of this process, which is never destroyed: its threads may run until the process has ended.
    static ThreadPool& instance();

    /// In a forked child, before it has more than one thread: gives it a pool without threads. The parent's
    /// are not there, and its locks may be held by them.
    static void renew();

    /// Calls body(context) here and on up to `threads` - 1 other threads and returns when all have returned:
    /// on fewer where no thread can be made, on this one alone while another call has the team. While waiting
    /// for the others it calls waiting(context) about ten times a second. Throws std::runtime_error in a
    /// child that was forked out of body, whose helpers are gone.
    void run(size_t threads, Function body, Function waiting, void* context);

    /// How many threads there are besides callers.
    size_t size() const { return size_; }

  private:
    class Round;

    void grow(size_t wanted);
    void work();
    void help();

    std::atomic<bool> taken_{false};  ///< by a call
    std::atomic<size_t> size_{0};

    std::mutex mutex_;
    std::condition_variable offered_, finished_;
    std::atomic<size_t> places_{0};   ///< for threads that have not joined the call yet
    std::atomic<size_t> helping_{0};  ///< threads that have
    Function body_ = nullptr;
    void* context_ = nullptr;
};

}  // namespace drq
