#include "faiss_plugin/ivf_index.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "faiss_plugin/additive.h"
#include "faiss_plugin/flat_index.h"
#include "faiss_plugin/ivf_state.h"
#include "faiss_plugin/openmp.h"
#include "faiss_plugin/scanner.h"

namespace drq::plugin {

namespace {

constexpr const char* kClass = "_ZTVN5faiss25IndexIVFResidualQuantizerE";

/// The class, and the library's functions that ours call.
struct IvfClass {
    OverriddenClass overridden;
    size_t interface_offset;  ///< of its second base class, IndexIVFInterface, in an index
    bool has_scanner;         ///< ours, in place of the library's
    void* total_stats;        ///< faiss::indexIVF_stats

    void (*destroy)(void*);
    void (*destroy_and_free)(void*);
    void (*train)(void*, int64_t, const float*);
    void (*train_encoder)(void*, int64_t, const float*, const int64_t*);
    void (*add_core)(void*, int64_t, const float*, const int64_t*, const int64_t*, void*);
    size_t (*remove_ids)(void*, const void* selector);
    void (*reset)(void*);
    void (*merge_from)(void*, void* other, int64_t add_id);
    void (*update_vectors)(void*, int, const int64_t*, const float*);
    void (*search_preassigned)(const void*, int64_t, const float*, int64_t, const int64_t*, const float*,
                               float*, int64_t*, bool, const void*, void*);
    void (*range_search_preassigned)(const void*, int64_t, const float*, float, const int64_t*, const float*,
                                     void*, bool, const void*, void*);

    IvfClass(const Library& library, bool with_scanner);
};

IvfClass* ivf = nullptr;

void* rq_of(void* index) { return &field<char>(index, layout().ivf_rq); }
const void* rq_of(const void* index) { return &field<char>(index, layout().ivf_rq); }

/// What a call of search_preassigned asks for.
struct Request {
    size_t nprobe = 0;
    const void* selector = nullptr;
    bool plain = true;  ///< nothing that decides, query by query, how far to go on
};

Request request_of(const IvfView& view, const void* parameters) {
    const Layout& at = layout();
    Request request;
    size_t max_codes = view.max_codes;
    request.nprobe = view.nprobe;
    if (parameters) {
        request.nprobe = field<size_t>(parameters, at.params_nprobe);
        max_codes = field<size_t>(parameters, at.params_max_codes);
        request.selector = selector_of(parameters);
        request.plain = field<size_t>(parameters, at.params_max_lists_num) == 0 &&
                        field<size_t>(parameters, at.params_max_empty_result_buckets) == 0 &&
                        field<const void*>(parameters, at.params_inverted_list_context) == nullptr;
    }
    request.nprobe = std::min(request.nprobe, view.nlist);
    request.plain = request.plain && request.nprobe > 0 && max_codes == 0 && view.parallel_mode == 0 &&
                    !uses_iterator(view.lists);
    return request;
}

/// Indices by list number, of at most `most` lists: however many lists there are.
class ListIndices {
  public:
    explicit ListIndices(size_t most) {
        size_t slots = 4;
        while (slots < 2 * most) slots *= 2;
        slots_.resize(slots);
    }

    /// The index of a list, −1 while it has none.
    int32_t& operator[](size_t number) {
        size_t slot = (number * 0x9e3779b97f4a7c15) >> 20;
        while (true) {
            Slot& found = slots_[slot++ & (slots_.size() - 1)];
            if (found.index < 0) found.number = number;
            if (found.number == number) return found.index;
        }
    }

  private:
    struct Slot {
        size_t number = 0;
        int32_t index = -1;
    };
    std::vector<Slot> slots_;  ///< a power of two of them, half of them free
};

/// The probed lists, each once, and every probe as an index into them.
class ProbedLists {
  public:
    ProbedLists(const IvfView& view, size_t probes, const int64_t* keys) : index_(probes, -1) {
        ListIndices index_of(std::min(probes, view.nlist));
        for (size_t i = 0; i < probes; i++) {
            if (keys[i] < 0) continue;
            if (size_t(keys[i]) >= view.nlist)
                throw std::invalid_argument("list number " + std::to_string(keys[i]) + ", expected 0 to " +
                                            std::to_string(view.nlist - 1));
            int32_t& index = index_of[size_t(keys[i])];
            if (index < 0) {
                index = int32_t(numbers_.size());
                numbers_.push_back(size_t(keys[i]));
                read_.emplace_back(view.lists, numbers_.back());
            }
            index_[i] = index;
        }
    }

    PreparedLists prepare(IvfState& state, const IvfView& view, size_t levels, bool store_pairs) {
        PreparedLists prepared = state.prepare(view, levels, numbers_, read_, executor());
        for (size_t i = 0; i < numbers_.size(); i++) {
            lists_.push_back(prepared.list(i, &read_[i]));
            if (!store_pairs) continue;
            lists_.back().ids = nullptr;
            lists_.back().first_id = int64_t(uint64_t(numbers_[i]) << 32);
        }
        return prepared;
    }

    const std::vector<InvertedList>& lists() const { return lists_; }
    const int32_t* index() const { return index_.data(); }

  private:
    std::vector<int32_t> index_;  ///< by probe
    std::vector<size_t> numbers_;
    std::vector<ReadList> read_;
    std::vector<InvertedList> lists_;
};

void count(void* stats, size_t n, const ListStats& done) {
    if (!stats) stats = ivf->total_stats;
    field<size_t>(stats, layout().stats_nq) += n;
    field<size_t>(stats, layout().stats_nlist) += done.lists;
    field<size_t>(stats, layout().stats_ndis) += done.vectors;
}

/// Calls search(database, lists, probes, stats) with what the keys name.
template <class Search>
auto with_lists(const void* self, const IvfView& view, const Request& request, size_t n, const int64_t* keys,
                const float* centroid_distances, bool store_pairs, const void* parameters, void* stats,
                const Search& search) {
    const auto state = std::static_pointer_cast<IvfState>(state_of(self));
    const size_t levels = checked_levels(*state, view, parameters);
    ProbedLists probed(view, n * request.nprobe, keys);
    const PreparedLists prepared = probed.prepare(*state, view, levels, store_pairs);
    const Selector selector{is_member, request.selector};
    const ListDatabase database{*prepared.quantizer,
                                view.code_size,
                                levels,
                                metric_of(view.metric_type),
                                view.by_residual,
                                prepared.origin(),
                                request.selector ? &selector : nullptr};
    ListStats done;
    const bool ip = database.metric == Metric::InnerProduct;
    const auto results =
        search(database, probed.lists(),
               Probes{request.nprobe, probed.index(), ip ? centroid_distances : nullptr}, done);
    count(stats, n, done);
    return results;
}

bool goes_by_list(const IvfView& view, const Request& request, bool store_pairs) {
    return view.is_trained && view.lists && request.plain && !(store_pairs && request.selector);
}

/// Before FAISS searches itself: its own scanner knows no levels.
void require_scanner(const void* self, const IvfView& view, const void* parameters) {
    const size_t levels = checked_levels(*state_of(self), view, parameters);
    if (!ivf->has_scanner && levels < view.codebooks.nbits.size())
        throw std::runtime_error(
            "levels is " + std::to_string(levels) + ", expected all " +
            std::to_string(view.codebooks.nbits.size()) +
            ": with this libfaiss, searches with max_codes, a parallel_mode or lists that "
            "are read by iterators are FAISS's own");
}

void search_preassigned(const void* self, int64_t n, const float* x, int64_t k, const int64_t* keys,
                        const float* centroid_distances, float* distances, int64_t* ids, bool store_pairs,
                        const void* parameters, void* stats) {
    const IvfView view = ivf_view(self);
    const Request request = request_of(view, parameters);
    if (k <= 0 || !goes_by_list(view, request, store_pairs)) {
        require_scanner(self, view, parameters);
        ivf->search_preassigned(self, n, x, k, keys, centroid_distances, distances, ids, store_pairs,
                                parameters, stats);
        return;
    }
    with_lists(self, view, request, size_t(n), keys, centroid_distances, store_pairs, parameters, stats,
               [&](const ListDatabase& database, const std::vector<InvertedList>& lists, const Probes& probes,
                   ListStats& done) {
                   knn_search_lists(database, lists.data(), lists.size(), size_t(n), x, probes, size_t(k),
                                    distances, ids, done, executor());
                   return 0;
               });
}

void range_search_preassigned(const void* self, int64_t n, const float* x, float radius, const int64_t* keys,
                              const float* centroid_distances, void* result, bool store_pairs,
                              const void* parameters, void* stats) {
    const IvfView view = ivf_view(self);
    const Request request = request_of(view, parameters);
    if (!goes_by_list(view, request, store_pairs)) {
        require_scanner(self, view, parameters);
        ivf->range_search_preassigned(self, n, x, radius, keys, centroid_distances, result, store_pairs,
                                      parameters, stats);
        return;
    }
    write_range_result(
        result,
        with_lists(self, view, request, size_t(n), keys, centroid_distances, store_pairs, parameters, stats,
                   [&](const ListDatabase& database, const std::vector<InvertedList>& lists,
                       const Probes& probes, ListStats& done) {
                       return range_search_lists(database, lists.data(), lists.size(), size_t(n), x, radius,
                                                 probes, done, executor());
                   }));
}

void* get_InvertedListScanner(const void* self, bool store_pairs, const void* selector,
                              const void* parameters) {
    return new_scanner(self, store_pairs, selector, parameters);
}

/// Bytes that FAISS writes before a code for its list's number.
void write_list_number(int64_t number, size_t nlist, uint8_t* out) {
    for (size_t left = nlist - 1; left > 0; left >>= 8, number >>= 8) *out++ = uint8_t(number);
}

size_t list_number_bytes(size_t nlist) {
    size_t bytes = 0;
    for (size_t left = nlist - 1; left > 0; left >>= 8) bytes++;
    return bytes;
}

void encode_vectors(const void* self, int64_t n, const float* x, const int64_t* numbers, uint8_t* out,
                    bool with_numbers) {
    const IvfView view = ivf_view(self);
    if (!view.is_trained) throw std::runtime_error("the index is not trained");
    require_finite(view, n, x);
    constexpr size_t kBatch = 16384;  // bounds the residuals
    const size_t before = with_numbers ? list_number_bytes(view.nlist) : 0, width = before + view.code_size;
    std::vector<float> residuals;
    std::vector<uint8_t> codes;
    for (size_t first = 0; first < size_t(n); first += kBatch) {
        if (first) executor().check_interrupt();
        const size_t count = std::min(kBatch, size_t(n) - first);
        const float* batch = x + first * view.d;
        if (view.by_residual) {
            residuals.resize(count * view.d);
            std::vector<int64_t> lists(numbers + first, numbers + first + count);
            for (int64_t& list : lists) list = std::max<int64_t>(list, 0);  // vectors that go to no list
            compute_residuals(view.quantizer, int64_t(count), batch, residuals.data(), lists.data());
            batch = residuals.data();
        }
        codes.resize(count * view.code_size);
        encode(*state_of(self), view, rq_of(self), view.code_size, int64_t(count), batch, codes.data());
        for (size_t i = 0; i < count; i++) {
            uint8_t* row = out + (first + i) * width;
            if (with_numbers) write_list_number(numbers[first + i], view.nlist, row);
            std::copy_n(codes.data() + i * view.code_size, view.code_size, row + before);
        }
    }
}

/// FAISS's clustering ends the process when distances between vectors are no floats.
void train(void* self, int64_t n, const float* x) {
    const size_t d = ivf_view(self).d;
    for (size_t i = 0; i < size_t(n); i++) {
        double square = 0;
        for (size_t j = 0; j < d; j++) square += double(x[i * d + j]) * x[i * d + j];
        if (!(4 * square <= std::numeric_limits<float>::max()))
            throw std::invalid_argument("training vector " + std::to_string(i) + " has length " +
                                        std::to_string(std::sqrt(square)) +
                                        ", expected at most 9e18: squared distances are to fit in floats");
    }
    ivf->train(self, n, x);
}

void train_encoder(void* self, int64_t n, const float* x, const int64_t* numbers) {
    const std::shared_ptr<IndexState> state = state_of(self);
    if (state->training().empty())
        ivf->train_encoder(self, n, x, numbers);
    else
        train_quantizer(*state, ivf_view(self), rq_of(self), n, x);
    state->forget();
}

/// All vectors are checked before the first is added.
void add_core(void* self, int64_t n, const float* x, const int64_t* ids, const int64_t* numbers,
              void* context) {
    require_finite(ivf_view(self), n, x);
    ivf->add_core(self, n, x, ids, numbers, context);
}

void merge_from(void* self, void* other, int64_t add_id) {
    if (self == other) throw std::invalid_argument("cannot merge an index with itself");
    if (ivf->overridden.is_instance(other)) require_same_quantizer(ivf_view(self), ivf_view(other));
    ivf->merge_from(self, other, add_id);
    if (const std::shared_ptr<IndexState> emptied = find_state(other)) emptied->forget_codes();
}

size_t remove_ids(void* self, const void* selector) {
    state_of(self)->forget_codes();
    return ivf->remove_ids(self, selector);
}

void update_vectors(void* self, int n, const int64_t* ids, const float* x) {
    require_finite(ivf_view(self), n, x);
    state_of(self)->forget_codes();
    ivf->update_vectors(self, n, ids, x);
}

void reset(void* self) {
    state_of(self)->forget_codes();
    ivf->reset(self);
}

void destroy(void* self) {
    erase_state(self);
    ivf->destroy(self);
}

void destroy_and_free(void* self) {
    erase_state(self);
    ivf->destroy_and_free(self);
}

/// The same functions as FAISS calls them through IndexIVFInterface, its second base class: IndexShardsIVF
/// searches so, and whoever holds such a pointer deletes so. `self` is that part of the index.
namespace through_interface {

const void* index_of(const void* self) { return static_cast<const char*>(self) - ivf->interface_offset; }
void* index_of(void* self) { return static_cast<char*>(self) - ivf->interface_offset; }

void search_preassigned(const void* self, int64_t n, const float* x, int64_t k, const int64_t* keys,
                        const float* centroid_distances, float* distances, int64_t* ids, bool store_pairs,
                        const void* parameters, void* stats) {
    plugin::search_preassigned(index_of(self), n, x, k, keys, centroid_distances, distances, ids, store_pairs,
                               parameters, stats);
}

void range_search_preassigned(const void* self, int64_t n, const float* x, float radius, const int64_t* keys,
                              const float* centroid_distances, void* result, bool store_pairs,
                              const void* parameters, void* stats) {
    plugin::range_search_preassigned(index_of(self), n, x, radius, keys, centroid_distances, result,
                                     store_pairs, parameters, stats);
}

void destroy(void* self) { plugin::destroy(index_of(self)); }

void destroy_and_free(void* self) { plugin::destroy_and_free(index_of(self)); }

}  // namespace through_interface

IvfClass::IvfClass(const Library& library, bool with_scanner)
    : overridden(library, kClass), has_scanner(with_scanner) {
    library.find("_ZN5faiss14indexIVF_statsE", total_stats);
    OverriddenClass& o = overridden;
    destroy = o.replace("destroy", "_ZN5faiss25IndexIVFResidualQuantizerD1Ev", plugin::destroy);
    destroy_and_free =
        o.replace("destroy_and_free", "_ZN5faiss25IndexIVFResidualQuantizerD0Ev", plugin::destroy_and_free);
    search_preassigned = o.replace("search_preassigned",
                                   "_ZNK5faiss8IndexIVF18search_preassignedElPKflPKlS2_PfPlbPKNS_"
                                   "19SearchParametersIVFEPNS_13IndexIVFStatsE",
                                   plugin::search_preassigned);
    range_search_preassigned =
        o.replace("range_search_preassigned",
                  "_ZNK5faiss8IndexIVF24range_search_preassignedElPKffPKlS2_PNS_"
                  "17RangeSearchResultEbPKNS_19SearchParametersIVFEPNS_13IndexIVFStatsE",
                  plugin::range_search_preassigned);
    if (has_scanner)
        o.replace("get_InvertedListScanner",
                  "_ZNK5faiss25IndexIVFAdditiveQuantizer23get_InvertedListScannerEbPKNS_10IDSelectorEPKNS_"
                  "19SearchParametersIVFE",
                  plugin::get_InvertedListScanner);
    o.replace("encode_vectors", "_ZNK5faiss25IndexIVFAdditiveQuantizer14encode_vectorsElPKfPKlPhb",
              plugin::encode_vectors);
    train = o.replace("train", "_ZN5faiss8IndexIVF5trainElPKf", plugin::train);
    train_encoder = o.replace("train_encoder", "_ZN5faiss25IndexIVFAdditiveQuantizer13train_encoderElPKfPKl",
                              plugin::train_encoder);
    add_core = o.replace("add_core", "_ZN5faiss8IndexIVF8add_coreElPKfPKlS4_Pv", plugin::add_core);
    remove_ids =
        o.replace("remove_ids", "_ZN5faiss8IndexIVF10remove_idsERKNS_10IDSelectorE", plugin::remove_ids);
    reset = o.replace("reset", "_ZN5faiss8IndexIVF5resetEv", plugin::reset);
    merge_from = o.replace("merge_from", "_ZN5faiss8IndexIVF10merge_fromERNS_5IndexEl", plugin::merge_from);
    update_vectors =
        o.replace("update_vectors", "_ZN5faiss8IndexIVF14update_vectorsEiPKlPKf", plugin::update_vectors);

    interface_offset = o.second_offset();
    const std::string adjusted =
        "_ZThn" + std::to_string(interface_offset) + "_";  // how such functions begin
    o.replace_second(adjusted +
                         "NK5faiss8IndexIVF18search_preassignedElPKflPKlS2_PfPlbPKNS_"
                         "19SearchParametersIVFEPNS_13IndexIVFStatsE",
                     through_interface::search_preassigned);
    o.replace_second(adjusted +
                         "NK5faiss8IndexIVF24range_search_preassignedElPKffPKlS2_PNS_"
                         "17RangeSearchResultEbPKNS_19SearchParametersIVFEPNS_13IndexIVFStatsE",
                     through_interface::range_search_preassigned);
    o.replace_second(adjusted + "N5faiss25IndexIVFResidualQuantizerD1Ev", through_interface::destroy);
    o.replace_second(adjusted + "N5faiss25IndexIVFResidualQuantizerD0Ev",
                     through_interface::destroy_and_free);
}

}  // namespace

void open_ivf_class(const Library& library, bool with_scanner) {
    if (ivf) return;
    open_lists(library);
    if (with_scanner) open_scanner(library);
    ivf = new IvfClass(library,
                       with_scanner);  // never freed: indexes may be destroyed after static destructors
}

std::map<std::string, size_t> ivf_slots() {
    return ivf ? ivf->overridden.replaced() : std::map<std::string, size_t>();
}

bool has_ivf_class() { return ivf; }

const OverriddenClass& ivf_class() { return ivf->overridden; }

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
    ivf->overridden.take(index);
}

}  // namespace drq::plugin
