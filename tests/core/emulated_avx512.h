// AVX-512 intrinsics in portable code (SIMDe), to run the AVX-512 kernels where the CPU has none. This checks
// their logic, not what the compiler makes of them.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

// What SIMDe 0.7.4 lacks. A macro, because the compiler's own header declares a function of this name.
namespace drq::isa::emulated {
typedef short Words __attribute__((vector_size(64)));
inline __mmask32 greater16(__m512i a, __m512i b) {
    return _mm512_movepi16_mask(__m512i(Words(a) > Words(b)));
}
}  // namespace drq::isa::emulated
#ifndef _mm512_cmpgt_epi16_mask
#define _mm512_cmpgt_epi16_mask(a, b) drq::isa::emulated::greater16(a, b)
#endif
