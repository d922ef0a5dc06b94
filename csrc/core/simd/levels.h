// The instruction-set levels compiled into the library.
#pragma once

#include "core/simd/kernels.h"

namespace drq::simd {

namespace scalar {
const Kernels& kernels();
}
namespace avx2 {
const Kernels& kernels();
}
namespace avx512 {
const Kernels& kernels();
}

}  // namespace drq::simd
