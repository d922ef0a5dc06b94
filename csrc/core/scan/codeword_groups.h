// Codewords renumbered so that alike ones share the entries of bounds.
//
// Tables of bounds hold the largest entry of several codewords: of those whose numbers differ only in bits
// that ByteTables drop, and of all that a byte cannot tell apart. The more alike these are, the tighter the
// bound and the fewer vectors it lets through. Which number a codeword has is known to searches only; what
// they return does not depend on it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/isa/kernels.h"
#include "core/quantizer.h"

namespace drq {

struct Renumbered {
    /// Takes a quantizer that can_renumber().
    explicit Renumbered(const Quantizer& original);

    /// With the codewords in their new order, if they have 8 bits; else as it was, and exact distances are
    /// computed from rows of codes.
    Quantizer quantizer;
    std::vector<std::vector<uint8_t>> new_bytes;  ///< [base][code of the original]

    const uint8_t* new_bytes_of(size_t m) const { return new_bytes[size_t(quantizer.group[m])].data(); }
};

/// Whether levels have up to 8 bits, the widest 8, or all of them one number from 9 to 11: of more, grouping
/// codewords takes too long.
bool can_renumber(const Quantizer& quantizer);

/// Whether the kernels are so much faster with renumbered codes that packing for n queries may well renumber
/// them. Codes wider than a byte have no other kernels.
bool renumbering_pays(const isa::Kernels& kernels, const Quantizer& quantizer, size_t n);

/// About how many vectors a query can be compared with while a quantizer is renumbered.
size_t renumbering_work(const Quantizer& quantizer);

}  // namespace drq
