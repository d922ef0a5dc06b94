// The stock class faiss::IndexIVFResidualQuantizer: what of the library the replaced functions call.
#pragma once

#include <cxxabi.h>

#include <cstddef>
#include <cstdint>

#include "faiss_abi/layout.h"
#include "faiss_abi/vtable.h"
#include "index/view.h"

namespace drq::plugin::ivf {

/// The class, and the library's functions that ours call.
struct StockClass {
    OverriddenClass overridden;
    size_t search_slot;       ///< of every faiss::Index, coarse quantizers too
    size_t interface_offset;  ///< of its second base class, IndexIVFInterface, in an index
    bool has_scanner;         ///< ours, in place of the library's
    void* total_stats;        ///< faiss::indexIVF_stats
    const abi::__class_type_info *parameters_type, *ivf_parameters_type;

    void (*destroy)(void*);
    void (*destroy_and_free)(void*);
    void (*train)(void*, int64_t, const float*);
    void (*train_encoder)(void*, int64_t, const float*, const int64_t*);
    void (*add_core)(void*, int64_t, const float*, const int64_t*, const int64_t*, void*);
    void (*add_sa_codes)(void*, int64_t, const uint8_t*, const int64_t*);
    void (*sa_decode)(const void*, int64_t, const uint8_t*, float*);
    void (*reconstruct)(const void*, int64_t key, float*);
    void (*reconstruct_n)(const void*, int64_t first, int64_t n, float*);
    void (*reconstruct_from_offset)(const void*, int64_t list, int64_t row, float*);
    size_t (*remove_ids)(void*, const void* selector);
    void (*reset)(void*);
    void (*merge_from)(void*, void* other, int64_t add_id);
    void (*update_vectors)(void*, int, const int64_t*, const float*);
    void (*search)(const void*, int64_t, const float*, int64_t, float*, int64_t*, const void*);
    void (*search_and_reconstruct)(const void*, int64_t, const float*, int64_t, float*, int64_t*, float*,
                                   const void*);
    void (*range_search)(const void*, int64_t, const float*, float, void*, const void*);
    void (*search_preassigned)(const void*, int64_t, const float*, int64_t, const int64_t*, const float*,
                               float*, int64_t*, bool, const void*, void*);
    void (*range_search_preassigned)(const void*, int64_t, const float*, float, const int64_t*, const float*,
                                     void*, bool, const void*, void*);

    StockClass(const Library& library, bool with_scanner);
};

/// Null until the class is opened.
extern StockClass* stock;

/// The quantizer inside an index.
inline void* rq_of(void* index) { return &field<char>(index, layout().ivf_rq); }
inline const void* rq_of(const void* index) { return &field<char>(index, layout().ivf_rq); }

}  // namespace drq::plugin::ivf
