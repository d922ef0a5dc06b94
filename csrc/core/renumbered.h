// Codewords renumbered so that alike ones share the entries of bounds.
//
// Tables of bounds (ByteTables::dropped) hold the largest entry of several codewords: the more alike these
// are, the tighter the bound and the fewer vectors it lets through. Which number a codeword has is known to
// searches only; what they return does not depend on it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/quantizer.h"
#include "core/simd/kernels.h"

namespace drq {

struct Renumbered {
    /// Takes a quantizer whose levels have 8 bits each.
    explicit Renumbered(const Quantizer& original);

    Quantizer quantizer;                          ///< with the codewords in their new order
    std::vector<std::vector<uint8_t>> new_codes;  ///< [base][code of the original]

    const uint8_t* new_codes_of(size_t m) const { return new_codes[size_t(quantizer.group[m])].data(); }
};

/// Whether the kernels are so much faster with renumbered codes that packing for n queries may well renumber
/// them.
bool renumbering_pays(const simd::Kernels& kernels, const Quantizer& quantizer, size_t n);

}  // namespace drq
