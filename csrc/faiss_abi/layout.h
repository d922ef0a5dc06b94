// FAISS's binary interface, as far as the plug-in touches it: no FAISS header exists for the wheels.
//
// Offsets are measured at import through FAISS's own Python proxies (drqfaiss/_plugin), vtable slots
// are found by symbol name (vtable.h). What is left to assume is the C++ ABI itself: where the vtable pointer
// is, how libstdc++ lays out a std::vector, how arguments are passed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "index/view.h"

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

FlatView flat_view(const void* index);
IvfView ivf_view(const void* index);

/// The view of an index that can be searched; throws as require_searchable.
IvfView searchable_ivf_view(const void* index, const Version& version);

}  // namespace drq::plugin
