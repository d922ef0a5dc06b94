// Chooses the instruction set: CPU detection, the DRQFAISS_SIMD override, set_target().
#include <strings.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "core/isa/kernels.h"
#include "core/isa/targets.h"

namespace drq::isa {

namespace {

struct Level {
    const char* name;
    const Kernels& (*kernels)();
    bool (*runs)();  ///< whether this machine can run it
};

#if defined(__x86_64__)
bool runs_avx2() { return __builtin_cpu_supports("avx2"); }

bool runs_avx512() {
#ifdef DRQ_EMULATE_AVX512
    return runs_avx2();  // SIMDe makes AVX2 instructions of them
#else
    // The AVX-512 kernels are built around the 64-byte permutes of VBMI and the byte dot products of VNNI.
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
#endif
}
#endif

bool always() { return true; }

/// From the lowest. A machine that runs one runs all before it.
constexpr Level kLevels[] = {
    {"scalar", scalar::kernels, always},
#if defined(__x86_64__)
    {"avx2", avx2::kernels, runs_avx2},
    {"avx512", avx512::kernels, runs_avx512},
#elif defined(__aarch64__)
    {"neon", neon::kernels, always},  // part of every 64-bit Arm CPU
#endif
};
constexpr int kCount = sizeof kLevels / sizeof kLevels[0];

const Level& level(Target target) { return kLevels[int(target)]; }

/// "scalar, avx2 or avx512"
std::string all_names() {
    std::string names = kLevels[0].name;
    for (int i = 1; i < kCount; i++) names += (i + 1 < kCount ? ", " : " or ") + std::string(kLevels[i].name);
    return names;
}

void require(Target target) {
    if (target > best_target())
        throw std::invalid_argument(std::string("SIMD level ") + target_name(target) +
                                    ": this machine's best level is " + target_name(best_target()));
}

Target initial_target() {
    const char* wanted = std::getenv("DRQFAISS_SIMD");
    if (!wanted || !*wanted) return best_target();
    try {
        const Target target = parse_target(wanted);
        require(target);
        return target;
    } catch (const std::invalid_argument& error) {
        throw std::invalid_argument("environment variable DRQFAISS_SIMD: " + std::string(error.what()));
    }
}

std::atomic<Target>& current() {
    static std::atomic<Target> target{initial_target()};
    return target;
}

}  // namespace

Target best_target() {
    static const Target best = [] {
        int last = 0;
        while (last + 1 < kCount && kLevels[last + 1].runs()) last++;
        return Target(last);
    }();
    return best;
}

Target active_target() { return current(); }

void set_target(Target target) {
    require(target);
    current() = target;
}

const Kernels& active() { return level(active_target()).kernels(); }

const char* target_name(Target target) { return level(target).name; }

Target parse_target(const std::string& name) {
    for (int i = 0; i < kCount; i++)
        if (strcasecmp(name.c_str(), kLevels[i].name) == 0) return Target(i);
    throw std::invalid_argument("SIMD level '" + name + "': expected " + all_names());
}

}  // namespace drq::isa
