// The instruction-set levels compiled into the library, each from a source file of its own.
#pragma once

#include "core/isa/kernels.h"

// Between these two, functions may use instructions that not every CPU of the architecture has.
#define DRQ_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define DRQ_TARGET_BEGIN(features) \
    DRQ_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define DRQ_TARGET_END DRQ_PRAGMA(clang attribute pop)
#else
#define DRQ_TARGET_BEGIN(features) DRQ_PRAGMA(GCC push_options) DRQ_PRAGMA(GCC target(features))
#define DRQ_TARGET_END DRQ_PRAGMA(GCC pop_options)
#endif

namespace drq::isa {

namespace scalar {
const Kernels& kernels();
}
#if defined(__x86_64__)
namespace avx2 {
const Kernels& kernels();
}
namespace avx512 {
const Kernels& kernels();
}
#elif defined(__aarch64__)
namespace neon {
const Kernels& kernels();
}
#endif

}  // namespace drq::isa
