#include "faiss_plugin/fork.h"

#include <dlfcn.h>
#include <pthread.h>

#include <array>
#include <mutex>
#include <stdexcept>

#include "core/thread_pool.h"
#include "faiss_abi/openmp.h"
#include "faiss_abi/vtable.h"
#include "faiss_plugin/parameters.h"
#include "index/fork_mutex.h"
#include "index/state.h"

namespace drq::plugin {

namespace {

/// FAISS's own lock around its question whether Ctrl-C was pressed, which waits for Python's: a thread that
/// forks from Python has that one, so others may well hold this.
std::mutex* faiss_interrupt_lock = nullptr;

void renew_faiss_interrupt_lock() {
    if (!faiss_interrupt_lock) return;
    if (faiss_interrupt_lock->try_lock())
        faiss_interrupt_lock->unlock();
    else
        new (faiss_interrupt_lock) std::mutex;
}

/// None of them is ever wanted by a thread that has another.
std::array<ForkMutex*, 3> mutexes() { return {&parameters_mutex(), &states_mutex(), &options_mutex()}; }

void before_fork() {
    end_openmp_team();
    for (ForkMutex* mutex : mutexes()) mutex->before_fork();
}

void in_parent() {
    for (ForkMutex* mutex : mutexes()) mutex->in_parent();
}

void in_child() {
    avoid_openmp_team();
    for (ForkMutex* mutex : mutexes()) mutex->in_child();
    ThreadPool::renew();
    renew_faiss_interrupt_lock();
    renew_states();
}

}  // namespace

void watch_forks(const Library* library) {
    if (library)
        faiss_interrupt_lock =
            static_cast<std::mutex*>(dlsym(library->handle(), "_ZN5faiss17InterruptCallback4lockE"));
    if (pthread_atfork(before_fork, in_parent, in_child))
        throw std::runtime_error("pthread_atfork failed: not enough memory");
}

}  // namespace drq::plugin
