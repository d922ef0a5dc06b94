#include "faiss_plugin/ivf_class.h"

#include "faiss_abi/inverted_lists.h"
#include "faiss_plugin/ivf_search.h"
#include "faiss_plugin/ivf_stock.h"
#include "faiss_plugin/ivf_vectors.h"
#include "faiss_plugin/scanner.h"
#include "index/list_state.h"

namespace drq::plugin {

namespace ivf {

StockClass* stock = nullptr;

namespace {

constexpr const char* kClass = "_ZTVN5faiss25IndexIVFResidualQuantizerE";

// Functions that stand in both virtual tables of the class.
constexpr const char* kDestroy = "_ZN5faiss25IndexIVFResidualQuantizerD1Ev";
constexpr const char* kDestroyAndFree = "_ZN5faiss25IndexIVFResidualQuantizerD0Ev";
constexpr const char* kSearchPreassigned =
    "_ZNK5faiss8IndexIVF18search_preassignedElPKflPKlS2_PfPlbPKNS_"
    "19SearchParametersIVFEPNS_13IndexIVFStatsE";
constexpr const char* kRangeSearchPreassigned =
    "_ZNK5faiss8IndexIVF24range_search_preassignedElPKffPKlS2_PNS_"
    "17RangeSearchResultEbPKNS_19SearchParametersIVFEPNS_13IndexIVFStatsE";

void destroy(void* self) {
    erase_state(self);
    stock->destroy(self);
}

void destroy_and_free(void* self) {
    erase_state(self);
    stock->destroy_and_free(self);
}

/// The same functions as FAISS calls them through IndexIVFInterface, its second base class: IndexShardsIVF
/// searches so, and whoever holds such a pointer deletes so. `self` is that part of the index.
namespace through_interface {

const void* index_of(const void* self) { return static_cast<const char*>(self) - stock->interface_offset; }
void* index_of(void* self) { return static_cast<char*>(self) - stock->interface_offset; }

void search_preassigned(const void* self, int64_t n, const float* x, int64_t k, const int64_t* keys,
                        const float* centroid_distances, float* distances, int64_t* ids, bool store_pairs,
                        const void* parameters, void* stats) {
    ivf::search_preassigned(index_of(self), n, x, k, keys, centroid_distances, distances, ids, store_pairs,
                            parameters, stats);
}

void range_search_preassigned(const void* self, int64_t n, const float* x, float radius, const int64_t* keys,
                              const float* centroid_distances, void* result, bool store_pairs,
                              const void* parameters, void* stats) {
    ivf::range_search_preassigned(index_of(self), n, x, radius, keys, centroid_distances, result, store_pairs,
                                  parameters, stats);
}

void destroy(void* self) { ivf::destroy(index_of(self)); }

void destroy_and_free(void* self) { ivf::destroy_and_free(index_of(self)); }

}  // namespace through_interface

}  // namespace

StockClass::StockClass(const Library& library, bool with_scanner)
    : overridden(library, kClass), has_scanner(with_scanner) {
    library.find("_ZN5faiss14indexIVF_statsE", total_stats);
    library.find("_ZTIN5faiss16SearchParametersE", parameters_type);
    library.find("_ZTIN5faiss19SearchParametersIVFE", ivf_parameters_type);
    OverriddenClass& o = overridden;
    destroy = o.replace("destroy", kDestroy, ivf::destroy);
    destroy_and_free = o.replace("destroy_and_free", kDestroyAndFree, ivf::destroy_and_free);
    search = o.replace("search", "_ZNK5faiss8IndexIVF6searchElPKflPfPlPKNS_16SearchParametersE", ivf::search);
    search_slot = o.replaced().at("search");
    search_and_reconstruct =
        o.replace("search_and_reconstruct",
                  "_ZNK5faiss8IndexIVF22search_and_reconstructElPKflPfPlS3_PKNS_16SearchParametersE",
                  ivf::search_and_reconstruct);
    reconstruct = o.replace("reconstruct", "_ZNK5faiss8IndexIVF11reconstructElPf", ivf::reconstruct);
    reconstruct_n = o.replace("reconstruct_n", "_ZNK5faiss8IndexIVF13reconstruct_nEllPf", ivf::reconstruct_n);
    reconstruct_from_offset = o.replace("reconstruct_from_offset",
                                        "_ZNK5faiss25IndexIVFAdditiveQuantizer23reconstruct_from_offsetEllPf",
                                        ivf::reconstruct_from_offset);
    range_search =
        o.replace("range_search",
                  "_ZNK5faiss8IndexIVF12range_searchElPKffPNS_17RangeSearchResultEPKNS_16SearchParametersE",
                  ivf::range_search);
    search_preassigned = o.replace("search_preassigned", kSearchPreassigned, ivf::search_preassigned);
    range_search_preassigned =
        o.replace("range_search_preassigned", kRangeSearchPreassigned, ivf::range_search_preassigned);
    if (has_scanner)
        o.replace("get_InvertedListScanner",
                  "_ZNK5faiss25IndexIVFAdditiveQuantizer23get_InvertedListScannerEbPKNS_10IDSelectorEPKNS_"
                  "19SearchParametersIVFE",
                  ivf::get_InvertedListScanner);
    o.replace("encode_vectors", "_ZNK5faiss25IndexIVFAdditiveQuantizer14encode_vectorsElPKfPKlPhb",
              ivf::encode_vectors);
    train = o.replace("train", "_ZN5faiss8IndexIVF5trainElPKf", ivf::train);
    train_encoder = o.replace("train_encoder", "_ZN5faiss25IndexIVFAdditiveQuantizer13train_encoderElPKfPKl",
                              ivf::train_encoder);
    add_core = o.replace("add_core", "_ZN5faiss8IndexIVF8add_coreElPKfPKlS4_Pv", ivf::add_core);
    add_sa_codes = o.replace("add_sa_codes", "_ZN5faiss8IndexIVF12add_sa_codesElPKhPKl", ivf::add_sa_codes);
    sa_decode =
        o.replace("sa_decode", "_ZNK5faiss25IndexIVFAdditiveQuantizer9sa_decodeElPKhPf", ivf::sa_decode);
    remove_ids =
        o.replace("remove_ids", "_ZN5faiss8IndexIVF10remove_idsERKNS_10IDSelectorE", ivf::remove_ids);
    reset = o.replace("reset", "_ZN5faiss8IndexIVF5resetEv", ivf::reset);
    merge_from = o.replace("merge_from", "_ZN5faiss8IndexIVF10merge_fromERNS_5IndexEl", ivf::merge_from);
    update_vectors =
        o.replace("update_vectors", "_ZN5faiss8IndexIVF14update_vectorsEiPKlPKf", ivf::update_vectors);

    interface_offset = o.second_offset();
    // Such functions are named after the offset and, without its "_Z", the function that they call.
    const auto adjusted = [&](const char* symbol) {
        return "_ZThn" + std::to_string(interface_offset) + "_" + (symbol + 2);
    };
    o.replace_second(adjusted(kSearchPreassigned), through_interface::search_preassigned);
    o.replace_second(adjusted(kRangeSearchPreassigned), through_interface::range_search_preassigned);
    o.replace_second(adjusted(kDestroy), through_interface::destroy);
    o.replace_second(adjusted(kDestroyAndFree), through_interface::destroy_and_free);
}

}  // namespace ivf

void open_ivf_class(const Library& library, bool with_scanner) {
    if (ivf::stock) return;
    open_lists(library);
    if (with_scanner) open_scanner(library);
    ivf::stock =
        new ivf::StockClass(library,
                            with_scanner);  // never freed: indexes may be destroyed after static destructors
}

std::map<std::string, size_t> ivf_slots() {
    return ivf::stock ? ivf::stock->overridden.replaced() : std::map<std::string, size_t>();
}

bool has_ivf_class() { return ivf::stock; }

const OverriddenClass& ivf_class() { return ivf::stock->overridden; }

std::string why_not_ivf(const void* index) {
    const IvfView view = ivf_view(index);
    if (const std::string reason = unsupported(view); !reason.empty()) return reason;
    if (!view.quantizer) return "it has no coarse quantizer";
    const int coarse_metric = field<int>(view.quantizer, layout().metric_type);
    if (view.by_residual && coarse_metric != view.metric_type)
        return "its coarse quantizer has metric_type " + std::to_string(coarse_metric) +
               ", expected its own, " + std::to_string(view.metric_type) +
               ", because distances are computed from the centroids'";
    return "";
}

void adopt_ivf(void* index) {
    add_state(index, std::make_shared<IvfState>());
    ivf::stock->overridden.take(index);
}

}  // namespace drq::plugin
