// The instruction-set levels compiled into the library.
#pragma once

#include "core/isa/kernels.h"

namespace drq::isa {

namespace scalar {
const Kernels& kernels();
}
namespace avx2 {
const Kernels& kernels();
}
namespace avx512 {
const Kernels& kernels();
}

}  // namespace drq::isa
