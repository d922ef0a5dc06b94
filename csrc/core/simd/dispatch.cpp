// Chooses the SIMD level: CPU detection, the DRQFAISS_SIMD override, set_level().
#include <strings.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "core/simd/kernels.h"
#include "core/simd/levels.h"

namespace drq::simd {

namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avx512"};

void require(Level level) {
    if (level > best_level())
        throw std::invalid_argument(std::string("SIMD level ") + level_name(level) +
                                    ": this machine's best level is " + level_name(best_level()));
}

Level initial_level() {
    const char* wanted = std::getenv("DRQFAISS_SIMD");
    if (!wanted || !*wanted) return best_level();
    try {
        const Level level = parse_level(wanted);
        require(level);
        return level;
    } catch (const std::invalid_argument& error) {
        throw std::invalid_argument("environment variable DRQFAISS_SIMD: " + std::string(error.what()));
    }
}

std::atomic<Level>& current() {
    static std::atomic<Level> level{initial_level()};
    return level;
}

}  // namespace

Level best_level() {
#ifdef DRQ_EMULATE_AVX512
    // SIMDe makes AVX2 instructions of them.
    static const bool avx512 = __builtin_cpu_supports("avx2");
#else
    // The AVX-512 kernels are built around the 64-byte permutes of VBMI and the byte dot products of VNNI.
    static const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                               __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
#endif
    static const bool avx2 = __builtin_cpu_supports("avx2");
    return avx512 ? Level::Avx512 : avx2 ? Level::Avx2 : Level::Scalar;
}

Level active_level() { return current(); }

void set_level(Level level) {
    require(level);
    current() = level;
}

const Kernels& active() {
    switch (active_level()) {
        case Level::Avx512:
            return avx512::kernels();
        case Level::Avx2:
            return avx2::kernels();
        default:
            return scalar::kernels();
    }
}

const char* level_name(Level level) { return kNames[static_cast<int>(level)]; }

Level parse_level(const std::string& name) {
    for (int i = 0; i < 3; i++)
        if (strcasecmp(name.c_str(), kNames[i]) == 0) return static_cast<Level>(i);
    throw std::invalid_argument("SIMD level '" + name + "': expected scalar, avx2 or avx512");
}

}  // namespace drq::simd
