// Threads that search and encode with the same quantizer, planes, encoder and thread pool at once, while the
// SIMD level changes under them and one of them is interrupted: for ThreadSanitizer, and for wrong results
// without it. Prints one line and exits with 1 if any thread found something else than a thread alone does.
#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/thread_pool.h"
#include "everything.h"

using namespace drq;
using namespace drq::tests;

namespace {

constexpr size_t kThreads = 4;

/// The process's own threads, which help one caller at a time.
class Pool : public Executor {
  public:
    int threads() const override { return 3; }
    void run(void (*body)(void*), void (*waiting)(void*), void* context) const override {
        ThreadPool::instance().run(size_t(threads()), body, waiting, context);
    }
};

/// Ends what it runs as soon as it is asked, as Ctrl-C would.
class Interrupted final : public Pool {
  public:
    void check_interrupt() const override { throw std::runtime_error("interrupted"); }
};

/// How many of the threads, all at once, find in fresh caches what one alone finds.
size_t agreeing(const Case& c, const Data& data) {
    const std::vector<uint8_t> expected = results(c, data, Caches(data), Executor());
    const Caches caches(data);
    std::atomic<size_t> agree{0};
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kThreads; i++)
        threads.emplace_back([&, i] {
            isa::set_target(isa::Target(i % (size_t(isa::best_target()) + 1)));
            agree += results(c, data, caches, Pool()) == expected;
        });
    threads.emplace_back([&] {
        try {
            results(c, data, caches, Interrupted());
        } catch (const std::runtime_error&) {  // quick searches end before they are asked
        }
    });
    for (std::thread& thread : threads) thread.join();
    return agree;
}

}  // namespace

int main() {
    std::vector<Case> cases;
    for (const int nbits : {4, 6, 8, 9})
        cases.push_back({9001, 8, 7, nbits, nbits != 8, nbits == 6, nbits == 9, 0});
    std::mt19937 random(1);
    for (const Case& c : cases) {
        const size_t agree = agreeing(c, make(c, random));
        if (agree == kThreads) continue;
        std::printf("%zu of %zu threads found something else: %zu levels of %d bits\n", kThreads - agree,
                    kThreads, c.levels, c.nbits);
        return 1;
    }
    std::printf("%zu threads at once find what one alone does, in %zu cases\n", kThreads, cases.size());
    return 0;
}
