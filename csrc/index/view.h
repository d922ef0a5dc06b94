// What an index holds at the moment, wherever it keeps it, and whether that fits together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/database.h"
#include "core/quantizer.h"

namespace drq {

/// What a ResidualQuantizer holds at the moment; nothing is copied but the shape.
struct QuantizerView {
    Codebooks codebooks;  ///< levels empty while untrained, or where something does not fit
    std::string misfit;   ///< why the quantizer's fields do not belong together; empty if they do
    size_t rq_code_size = 0;
    size_t codebooks_size = 0;
    int search_type = 0;
    int max_beam_size = 0;
    size_t norm_bits = 0;    ///< bits of a stored norm after the levels' bits
    size_t tail_levels = 0;  ///< the last ones of the codebooks, whose codes are no part of the index
};

/// How many changes of an index's codes have begun and ended. To be read before the index is, so that a
/// change in the meantime shows.
struct Version {
    uint64_t begun = 0, ended = 0;
    bool is_quiet() const { return begun == ended; }
    bool operator==(const Version& other) const { return begun == other.begun && ended == other.ended; }
};

/// What every index holds.
struct IndexView : QuantizerView {
    Version version;  ///< of the codes, as far as somebody counts
    size_t d = 0;
    size_t ntotal = 0;
    bool is_trained = false;
    int metric_type = 0;
};

/// What an IndexResidualQuantizer holds.
struct FlatView : IndexView {
    Codes codes;
    size_t codes_size = 0;    ///< bytes behind codes.data
    bool codes_owned = true;  ///< false: in a mapped file
};

/// What an IndexIVFResidualQuantizer holds.
struct IvfView : IndexView {
    const void* quantizer = nullptr;  ///< the coarse one, a faiss::Index
    const void* lists = nullptr;      ///< faiss::InvertedLists
    size_t quantizer_d = 0, quantizer_ntotal = 0, lists_nlist = 0, lists_code_size = 0;  ///< what they say

    /// Reads the centroid of a list, to out (d).
    void (*reconstruct_centroid)(const void* quantizer, size_t number, float* out) = nullptr;
    size_t nlist = 0, nprobe = 0, max_codes = 0, code_size = 0;
    int parallel_mode = 0;
    bool by_residual = true;
};

/// The codes and ids of one inverted list, while they are being read.
struct ListCodes {
    size_t n = 0;
    const uint8_t* codes = nullptr;
    const int64_t* ids = nullptr;
};

/// "what is …, expected …", and the same of bits per level, for errors about sizes.
std::string mismatch(const std::string& what, size_t is, size_t expected);
std::string unusual_bits(size_t nbits);

/// Throw std::runtime_error unless the index is trained, and sizes of codebooks, codes, lists and centroids
/// fit together. All of them can be set from Python at any time, so every call checks before it reads.
/// Encoding needs no lists.
void require_searchable(const FlatView& view);
void require_searchable(const IvfView& view);
void require_encodable(const IvfView& view);

/// Throws std::runtime_error unless the index has as many lists as it says, of its code size.
void require_lists(const IvfView& view);

/// Throws std::runtime_error unless there are as many bytes of codes as ntotal says, of the right size each.
void require_codes(const FlatView& view);

/// faiss::AdditiveQuantizer::ST_norm_from_LUT: norms are computed from the codes at each search.
constexpr int kNormFromLut = 2;

/// FAISS's metric numbers that the plug-in searches with. Throws std::invalid_argument for the others.
Metric metric_of(int metric_type);

/// Why an index of this shape cannot be adopted; empty if it can.
std::string unsupported(const IndexView& view);

}  // namespace drq
