// FAISS's binary interface, as far as the plug-in touches it: no FAISS header exists for the wheels.
//
// Offsets are measured at import through FAISS's own Python proxies (drqfaiss/_faiss_abi.py), vtable slots
// are found by symbol name (vtable.h). What is left to assume is the C++ ABI itself: where the vtable pointer
// is, how libstdc++ lays out a std::vector, how arguments are passed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/quantizer.h"
#include "core/search.h"

namespace drq::plugin {

/// Byte offsets of the fields that the plug-in reads or writes.
struct Layout {
    // faiss::Index
    size_t d, ntotal, is_trained, metric_type;
    // faiss::IndexResidualQuantizer
    size_t code_size, codes_owned, codes_data, codes_size, rq;
    // faiss::IndexIVFResidualQuantizer
    size_t ivf_quantizer, ivf_nlist, ivf_nprobe, ivf_max_codes, ivf_invlists, ivf_code_size,
        ivf_parallel_mode, ivf_by_residual, ivf_rq;
    // faiss::InvertedLists, ArrayInvertedLists, OnDiskInvertedLists
    size_t lists_use_iterator, lists_nlist, lists_code_size, array_lists_codes, disk_lists_read_only;
    // faiss::MaybeOwnedVector
    size_t vector_is_owned;
    // faiss::InvertedListScanner
    size_t scanner_list_no, scanner_keep_max, scanner_store_pairs, scanner_sel, scanner_code_size;
    // faiss::SearchParametersIVF
    size_t params_nprobe, params_max_codes, params_max_lists_num, params_max_empty_result_buckets,
        params_quantizer_params, params_inverted_list_context;
    // faiss::IndexIVFStats
    size_t stats_nq, stats_nlist, stats_ndis;
    // faiss::ResidualQuantizer, from its own start
    size_t rq_d, rq_code_size, rq_M, rq_nbits, rq_codebooks, rq_codebook_offsets, rq_norm_bits, rq_is_trained,
        rq_search_type, rq_max_beam_size;
    // faiss::SearchParameters
    size_t params_sel;
    // faiss::RangeSearchResult
    size_t range_lims, range_labels, range_distances;
};

const Layout& layout();

/// Takes the measured offsets by field name, once: searches may be reading them. Throws std::invalid_argument
/// if a name is missing or unknown, or an offset is not the one taken before.
void set_layout(const std::map<std::string, size_t>& offsets);

/// The eight bytes of an object that begin at the named field, which must lie in it. Throws
/// std::invalid_argument for an unknown name.
uint64_t word_at(const void* object, const std::string& name);

template <class T>
T& field(void* object, size_t offset) {
    return *reinterpret_cast<T*>(static_cast<char*>(object) + offset);
}

template <class T>
const T& field(const void* object, size_t offset) {
    return *reinterpret_cast<const T*>(static_cast<const char*>(object) + offset);
}

/// Calls virtual function number `slot` of a C++ object.
template <class Result, class Object, class... Arguments>
Result call_virtual(Object* object, size_t slot, Arguments... arguments) {
    const void* const* vtable = field<const void* const*>(object, 0);
    using Function = Result (*)(Object*, Arguments...);
    return reinterpret_cast<Function>(const_cast<void*>(vtable[slot]))(object, arguments...);
}

/// What a ResidualQuantizer holds at the moment; nothing is copied but the shape.
struct QuantizerView {
    Codebooks codebooks;  ///< levels empty while untrained, or where something does not fit
    std::string misfit;   ///< why the quantizer's fields do not belong together; empty if they do
    size_t rq_code_size = 0;
    size_t codebooks_size = 0;
    int search_type = 0;
    int max_beam_size = 0;
    size_t norm_bits = 0;  ///< bits of a stored norm after the levels' bits
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
    size_t nlist = 0, nprobe = 0, max_codes = 0, code_size = 0;
    int parallel_mode = 0;
    bool by_residual = true;
};

FlatView flat_view(const void* index);
IvfView ivf_view(const void* index);

/// Throw std::runtime_error unless the index is trained, and sizes of codebooks, codes, lists and centroids
/// fit together. All of them can be set from Python at any time, so every call checks before it reads.
/// Encoding needs no lists.
void require_searchable(const FlatView& view);
void require_searchable(const IvfView& view);
void require_encodable(const IvfView& view);
IvfView searchable_ivf_view(const void* index, const Version& version);

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

}  // namespace drq::plugin
