#include "faiss_abi/openmp.h"

#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "core/thread_pool.h"

namespace drq::plugin {

namespace {

/// The functions of libgomp that we call.
struct OpenMP {
    int (*max_threads)() = nullptr;
    int (*in_parallel)() = nullptr;
    void (*set_num_threads)(int) = nullptr;
    int (*pause_all)(int) = nullptr;  ///< omp_pause_resource_all; null in old runtimes
    std::string library = "none";
    bool inherited = false;  ///< the process may have been forked with a team of its main thread
    bool ended = true;       ///< the calling thread's team, before the last fork
};

OpenMP openmp;

int usable_cpus() {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    if (sched_getaffinity(0, sizeof cpus, &cpus))
        return int(std::max(1u, std::thread::hardware_concurrency()));
    return std::max(1, CPU_COUNT(&cpus));
}

bool is_main_thread() { return getpid() == gettid(); }

/// Whether this process is a fork that has executed no program since (PF_FORKNOEXEC of the Linux kernel).
bool is_forked() {
    constexpr unsigned kForkedNotExecuted = 0x40;
    unsigned flags = 0;
    if (std::FILE* file = std::fopen("/proc/self/stat", "re")) {
        // pid (name) state ppid pgrp session tty tpgid flags; the name may hold anything.
        char line[512];
        const size_t length = std::fread(line, 1, sizeof line - 1, file);
        std::fclose(file);
        line[length] = 0;
        const std::string text = line;
        const size_t after_name = text.rfind(')');
        if (after_name != std::string::npos &&
            std::sscanf(line + after_name + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) != 1)
            flags = 0;
    }
    return flags & kForkedNotExecuted;
}

class PoolExecutor final : public Executor {
  public:
    int threads() const override {
        static const int cpus = usable_cpus();
        if (!openmp.max_threads) return cpus;
        return openmp.in_parallel() ? 1 : std::max(1, openmp.max_threads());
    }

    void run(void (*body)(void*), void (*waiting)(void*), void* context) const override {
        ThreadPool::instance().run(size_t(threads()), body, waiting, context);
    }

    /// Also for callers that ask between many short loops, so it looks at the clock itself. Python handles
    /// signals in its main thread, which is the process's: others need not ask.
    void check_interrupt() const override {
        constexpr std::chrono::milliseconds kInterval{90};
        thread_local std::chrono::steady_clock::time_point asked;
        const auto now = std::chrono::steady_clock::now();
        if (!check || now - asked < kInterval || !is_main_thread()) return;
        asked = now;
        check();
    }

    void (*check)() = nullptr;
};

PoolExecutor& pool_executor() {
    static PoolExecutor& instance = *new PoolExecutor;  // outlives every static destructor
    return instance;
}

template <class Function>
void* find(const Library& library, const char* name, Function& function) {
    void* address = dlsym(library.handle(), name);  // looks into the libraries that libfaiss depends on
    function = reinterpret_cast<Function>(address);
    return address;
}

}  // namespace

const Executor& executor() { return pool_executor(); }

void set_interrupt_check(void (*check)()) { pool_executor().check = check; }

void open_openmp(const Library& library) {
    OpenMP found;
    void* address = find(library, "omp_get_max_threads", found.max_threads);
    if (!address || !find(library, "omp_in_parallel", found.in_parallel) ||
        !find(library, "omp_set_num_threads", found.set_num_threads))
        return;
    find(library, "omp_pause_resource_all", found.pause_all);
    Dl_info info{};
    if (dladdr(address, &info) && info.dli_fname) found.library = info.dli_fname;
    found.inherited = is_forked();
    openmp = found;
}

const std::string& openmp_library() { return openmp.library; }

void end_openmp_team() {
    constexpr int kHard = 2;  // omp_pause_hard
    // A team that came with a fork has no threads that could be ended.
    const bool lost = openmp.inherited && is_main_thread();
    openmp.ended = !lost && openmp.pause_all && openmp.pause_all(kHard) == 0;
}

void avoid_openmp_team() {
    if (!openmp.ended && openmp.set_num_threads) openmp.set_num_threads(1);
    // With one thread the team that came along is never entered, but it stays: as must this note.
    openmp.inherited = !openmp.ended;
}

}  // namespace drq::plugin
