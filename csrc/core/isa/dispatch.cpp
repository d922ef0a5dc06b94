// Chooses the instruction set: CPU detection, the DRQFAISS_SIMD override, set_target().
#include <strings.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "core/isa/kernels.h"
#include "core/isa/targets.h"

namespace drq::isa {

namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avx512"};

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
    return avx512 ? Target::Avx512 : avx2 ? Target::Avx2 : Target::Scalar;
}

Target active_target() { return current(); }

void set_target(Target target) {
    require(target);
    current() = target;
}

const Kernels& active() {
    switch (active_target()) {
        case Target::Avx512:
            return avx512::kernels();
        case Target::Avx2:
            return avx2::kernels();
        default:
            return scalar::kernels();
    }
}

const char* target_name(Target target) { return kNames[static_cast<int>(target)]; }

Target parse_target(const std::string& name) {
    for (int i = 0; i < 3; i++)
        if (strcasecmp(name.c_str(), kNames[i]) == 0) return static_cast<Target>(i);
    throw std::invalid_argument("SIMD level '" + name + "': expected scalar, avx2 or avx512");
}

}  // namespace drq::isa
