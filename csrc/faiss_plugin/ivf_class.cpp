#include "faiss_plugin/ivf_class.h"

#include <cxxabi.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>

#include "core/search/lists/search.h"
#include "faiss_abi/inverted_lists.h"
#include "faiss_abi/openmp.h"
#include "faiss_plugin/common.h"
#include "faiss_plugin/flat_class.h"
#include "faiss_plugin/scanner.h"
#include "index/list_state.h"

namespace drq::plugin {

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

/// The class, and the library's functions that ours call.
struct IvfClass {
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

    IvfClass(const Library& library, bool with_scanner);
};

IvfClass* ivf = nullptr;

void* rq_of(void* index) { return &field<char>(index, layout().ivf_rq); }
const void* rq_of(const void* index) { return &field<char>(index, layout().ivf_rq); }

IvfView searchable_view(const void* index) { return searchable_ivf_view(index, state_of(index)->version()); }

/// What a call of search_preassigned asks for.
struct Request {
    size_t nprobe = 0;
    const void* selector = nullptr;
    const void* quantizer_parameters = nullptr;
    bool plain = true;  ///< nothing that decides, query by query, how far to go on
};

/// FAISS refuses search parameters of another class as well.
void require_ivf_parameters(const void* parameters) {
    constexpr std::ptrdiff_t kUnknown = -1;
    if (parameters &&
        !abi::__dynamic_cast(parameters, ivf->parameters_type, ivf->ivf_parameters_type, kUnknown))
        throw std::invalid_argument("params: expected SearchParametersIVF");
}

Request request_of(const IvfView& view, const void* parameters) {
    const Layout& at = layout();
    Request request;
    size_t max_codes = view.max_codes;
    request.nprobe = view.nprobe;
    if (parameters) {
        request.nprobe = field<size_t>(parameters, at.params_nprobe);
        max_codes = field<size_t>(parameters, at.params_max_codes);
        request.selector = selector_of(parameters);
        request.quantizer_parameters = field<const void*>(parameters, at.params_quantizer_params);
        request.plain = field<size_t>(parameters, at.params_max_lists_num) == 0 &&
                        field<size_t>(parameters, at.params_max_empty_result_buckets) == 0 &&
                        field<const void*>(parameters, at.params_inverted_list_context) == nullptr;
    }
    request.nprobe = std::min(request.nprobe, view.nlist);
    request.plain = request.plain && request.nprobe > 0 && max_codes == 0 && view.parallel_mode == 0 &&
                    !(view.lists && uses_iterator(view.lists));
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
        const std::vector<ListCodes> codes(read_.begin(), read_.end());
        PreparedLists prepared = state.prepare(view, levels, numbers_, codes, executor());
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

/// To the caller's statistics, or to those that all searches of the process share.
void count(void* stats, size_t n, const ListStats& done) {
    if (!stats) stats = ivf->total_stats;
    const auto add = [&](size_t offset, size_t number) {
        __atomic_fetch_add(&field<size_t>(stats, offset), number, __ATOMIC_RELAXED);
    };
    add(layout().stats_nq, n);
    add(layout().stats_nlist, done.lists);
    add(layout().stats_ndis, done.vectors);
}

/// Which lists of an index n queries look into, and how.
struct Call {
    const void* self;
    int64_t n;
    const float* x;                   ///< (n, d)
    const int64_t* keys;              ///< (n, nprobe) numbers of lists; −1: none
    const float* centroid_distances;  ///< (n, nprobe)
    bool store_pairs;                 ///< results are list numbers and rows instead of ids
    const void* parameters;           ///< null, or a faiss::SearchParametersIVF
    void* stats;                      ///< null, or a faiss::IndexIVFStats
};

/// Calls search(database, lists, probes, stats) with what the keys name.
template <class Search>
auto with_lists(const Call& call, const IvfView& view, const Request& request, const Search& search) {
    const auto state = std::static_pointer_cast<IvfState>(state_of(call.self));
    const size_t levels = checked_levels(*state, view, call.parameters);
    ProbedLists probed(view, size_t(call.n) * request.nprobe, call.keys);
    const PreparedLists prepared = probed.prepare(*state, view, levels, call.store_pairs);
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
               Probes{request.nprobe, probed.index(), ip ? call.centroid_distances : nullptr}, done);
    count(call.stats, size_t(call.n), done);
    return results;
}

bool goes_by_list(const Request& request, bool store_pairs) {
    return request.plain && !(store_pairs && request.selector);
}

/// Before FAISS searches itself: its own scanner knows no levels.
void require_scanner(const Call& call, const IvfView& view) {
    const size_t levels = checked_levels(*state_of(call.self), view, call.parameters);
    if (!ivf->has_scanner && levels < view.codebooks.nbits.size())
        throw std::runtime_error(
            "levels is " + std::to_string(levels) + ", expected all " +
            std::to_string(view.codebooks.nbits.size()) +
            ": with this libfaiss, searches with max_codes, a parallel_mode or lists that "
            "are read by iterators are FAISS's own");
}

/// search_preassigned in an index that has been looked at.
void search_viewed(const Call& call, const IvfView& view, const Request& request, int64_t k, float* distances,
                   int64_t* ids) {
    if (k <= 0 || !goes_by_list(request, call.store_pairs)) {
        require_scanner(call, view);
        ivf->search_preassigned(call.self, call.n, call.x, k, call.keys, call.centroid_distances, distances,
                                ids, call.store_pairs, call.parameters, call.stats);
        return;
    }
    with_lists(call, view, request,
               [&](const ListDatabase& database, const std::vector<InvertedList>& lists, const Probes& probes,
                   ListStats& done) {
                   knn_search_lists(database, lists.data(), lists.size(), size_t(call.n), call.x, probes,
                                    size_t(k), distances, ids, done, executor());
                   return 0;
               });
}

void search_preassigned(const void* self, int64_t n, const float* x, int64_t k, const int64_t* keys,
                        const float* centroid_distances, float* distances, int64_t* ids, bool store_pairs,
                        const void* parameters, void* stats) {
    const IvfView view = searchable_view(self);
    search_viewed({self, n, x, keys, centroid_distances, store_pairs, parameters, stats}, view,
                  request_of(view, parameters), k, distances, ids);
}

/// What the coarse quantizer finds for n queries: (n, nprobe) each.
struct Assignment {
    std::vector<int64_t> keys;
    std::vector<float> distances;
};

Assignment assign(const IvfView& view, const Request& request, size_t n, const float* x) {
    Assignment found{std::vector<int64_t>(n * request.nprobe), std::vector<float>(n * request.nprobe)};
    call_virtual<void>(view.quantizer, ivf->search_slot, int64_t(n), x, int64_t(request.nprobe),
                       found.distances.data(), found.keys.data(), request.quantizer_parameters);
    return found;
}

/// Not in slices, as the library's own: only one of its threads would know that Ctrl-C was pressed.
void search(const void* self, int64_t n, const float* x, int64_t k, float* distances, int64_t* ids,
            const void* parameters) {
    const IvfView view = searchable_view(self);
    require_ivf_parameters(parameters);
    const Request request = request_of(view, parameters);
    if (n <= 0 || k <= 0 || !goes_by_list(request, false)) {
        ivf->search(self, n, x, k, distances, ids, parameters);
        return;
    }
    const Assignment found = assign(view, request, size_t(n), x);
    search_viewed({self, n, x, found.keys.data(), found.distances.data(), false, parameters, nullptr}, view,
                  request, k, distances, ids);
}

/// As search; the library's own forgets the parameters of the coarse quantizer.
void search_and_reconstruct(const void* self, int64_t n, const float* x, int64_t k, float* distances,
                            int64_t* ids, float* vectors, const void* parameters) {
    const IvfView view = searchable_view(self);
    require_ivf_parameters(parameters);
    const Request request = request_of(view, parameters);
    if (n <= 0 || k <= 0 || request.nprobe == 0) {
        ivf->search_and_reconstruct(self, n, x, k, distances, ids, vectors, parameters);
        return;
    }
    const Assignment found = assign(view, request, size_t(n), x);
    search_viewed({self, n, x, found.keys.data(), found.distances.data(), true, parameters, nullptr}, view,
                  request, k, distances, ids);
    for (size_t i = 0; i < size_t(n) * size_t(k); i++) {
        if (ids[i] < 0) {
            std::memset(vectors + i * view.d, -1, view.d * sizeof(float));  // NaN, as FAISS has it
            continue;
        }
        const auto list = int64_t(uint64_t(ids[i]) >> 32), row = ids[i] & 0xffffffff;
        ids[i] = ReadList(view.lists, size_t(list)).ids[row];
        ivf->reconstruct_from_offset(self, list, row, vectors + i * view.d);
    }
}

/// The library looks at the lists before it calls range_search_preassigned.
void range_search(const void* self, int64_t n, const float* x, float radius, void* result,
                  const void* parameters) {
    require_searchable(ivf_view(self));
    require_ivf_parameters(parameters);
    ivf->range_search(self, n, x, radius, result, parameters);
}

void range_search_preassigned(const void* self, int64_t n, const float* x, float radius, const int64_t* keys,
                              const float* centroid_distances, void* result, bool store_pairs,
                              const void* parameters, void* stats) {
    const IvfView view = searchable_view(self);
    const Request request = request_of(view, parameters);
    const Call call{self, n, x, keys, centroid_distances, store_pairs, parameters, stats};
    if (!goes_by_list(request, store_pairs)) {
        require_scanner(call, view);
        ivf->range_search_preassigned(self, n, x, radius, keys, centroid_distances, result, store_pairs,
                                      parameters, stats);
        return;
    }
    write_range_result(
        result, with_lists(call, view, request,
                           [&](const ListDatabase& database, const std::vector<InvertedList>& lists,
                               const Probes& probes, ListStats& done) {
                               return range_search_lists(database, lists.data(), lists.size(), size_t(n), x,
                                                         radius, probes, done, executor());
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

/// Every vector goes to a list that is there. The library drops those that go to none, without a word.
void require_list_numbers(const IvfView& view, int64_t n, const int64_t* numbers) {
    for (int64_t i = 0; i < n; i++) {
        if (numbers[i] < 0)
            throw std::invalid_argument("vector " + std::to_string(i) +
                                        " goes to no list, expected a centroid whose distance is a float");
        if (numbers[i] >= int64_t(view.nlist))
            throw std::invalid_argument("list number " + std::to_string(numbers[i]) + ", expected 0 to " +
                                        std::to_string(view.nlist - 1));
    }
}

/// Codes of vectors that this thread is adding, all of which are encoded before the first is added: encoding
/// may fail or be interrupted, and the library adds block by block.
class Encoded {
  public:
    Encoded(const float* x, size_t n, size_t d, const uint8_t* codes, size_t code_size)
        : x_(x), n_(n), d_(d), codes_(codes), code_size_(code_size), before_(current) {
        current = this;
    }
    ~Encoded() { current = before_; }
    Encoded(const Encoded&) = delete;
    Encoded& operator=(const Encoded&) = delete;

    /// What is being added, if these are among its vectors; else null.
    static const Encoded* find(const float* x) {
        const bool inside = current && current->x_ <= x && x < current->x_ + current->n_ * current->d_;
        return inside ? current : nullptr;
    }

    const uint8_t* codes_of(const float* x) const { return codes_ + size_t(x - x_) / d_ * code_size_; }

  private:
    static thread_local const Encoded* current;

    const float* x_;
    size_t n_, d_;
    const uint8_t* codes_;
    size_t code_size_;
    const Encoded* before_;
};

thread_local const Encoded* Encoded::current = nullptr;

/// The rows of x (n, d) less the centroids of their lists. The library's own function for many vectors ends
/// the process if a centroid cannot be had.
void compute_residuals(const IvfView& view, size_t n, const float* x, const int64_t* numbers,
                       float* residuals) {
    constexpr size_t kTask = 512;
    parallel_for(executor(), (n + kTask - 1) / kTask, [&](size_t task, Checkpoint&) {
        for (size_t i = task * kTask; i < std::min(n, (task + 1) * kTask); i++) {
            float* residual = residuals + i * view.d;
            reconstruct_centroid(view.quantizer, size_t(numbers[i]), residual);
            for (size_t j = 0; j < view.d; j++) residual[j] = x[i * view.d + j] - residual[j];
        }
    });
}

void encode_vectors(const void* self, int64_t n, const float* x, const int64_t* numbers, uint8_t* out,
                    bool with_numbers) {
    const IvfView view = ivf_view(self);
    if (const Encoded* encoded = with_numbers ? nullptr : Encoded::find(x)) {
        std::copy_n(encoded->codes_of(x), size_t(n) * view.code_size, out);
        return;
    }
    require_encodable(view);
    require_finite(view, n, x);
    require_list_numbers(view, n, numbers);
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
            compute_residuals(view, count, batch, numbers + first, residuals.data());
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

/// The view of an index whose lists are about to change. The library ends the process if they cannot be.
IvfView changeable_view(const void* index) {
    const IvfView view = ivf_view(index);
    require_lists(view);
    if (const std::string reason = why_unchangeable(view.lists, view.nlist); !reason.empty())
        throw std::runtime_error(reason);
    return view;
}

/// Runs a library function that only appends codes to lists, whose norms stay.
template <class Append>
void append(void* self, const Append& stock) {
    const std::shared_ptr<IndexState> state = state_of(self);
    Change change(*state);
    stock();
    change.keep_caches();
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
    const IvfView view = changeable_view(self);
    if (Encoded::find(x)) {  // a block of what is being added: the library calls back
        ivf->add_core(self, n, x, ids, numbers, context);
        return;
    }
    std::vector<uint8_t> codes(size_t(n) * view.code_size);
    encode_vectors(self, n, x, numbers, codes.data(), false);
    const Encoded encoded(x, size_t(n), view.d, codes.data(), view.code_size);
    append(self, [&] { ivf->add_core(self, n, x, ids, numbers, context); });
}

/// The list numbers that codes begin with, all of lists that there are.
std::vector<int64_t> list_numbers(const IvfView& view, int64_t n, const uint8_t* codes) {
    const size_t before = list_number_bytes(view.nlist);
    std::vector<int64_t> numbers(static_cast<size_t>(n), 0);
    for (size_t i = 0; i < numbers.size(); i++)
        std::memcpy(&numbers[i], codes + i * (before + view.code_size), std::min(before, sizeof numbers[i]));
    require_list_numbers(view, n, numbers.data());
    return numbers;
}

void add_sa_codes(void* self, int64_t n, const uint8_t* codes, const int64_t* ids) {
    list_numbers(changeable_view(self), n, codes);
    append(self, [&] { ivf->add_sa_codes(self, n, codes, ids); });
}

void reconstruct(const void* self, int64_t key, float* vector) {
    require_searchable(ivf_view(self));
    ivf->reconstruct(self, key, vector);
}

void reconstruct_n(const void* self, int64_t first, int64_t n, float* vectors) {
    require_searchable(ivf_view(self));
    ivf->reconstruct_n(self, first, n, vectors);
}

/// The library reads whatever lies there.
void reconstruct_from_offset(const void* self, int64_t list, int64_t row, float* vector) {
    const IvfView view = ivf_view(self);
    require_searchable(view);
    const bool is_list = list >= 0 && size_t(list) < view.nlist;
    const size_t size = is_list ? list_size(view.lists, size_t(list)) : 0;
    if (row < 0 || size_t(row) >= size)
        throw std::invalid_argument("row " + std::to_string(row) + " of list " + std::to_string(list) +
                                    ", which has " + std::to_string(size) + " vectors");
    ivf->reconstruct_from_offset(self, list, row, vector);
}

/// The library decodes on threads that nothing may be thrown from: what could be is thrown before.
void sa_decode(const void* self, int64_t n, const uint8_t* codes, float* x) {
    const IvfView view = ivf_view(self);
    require_encodable(view);
    std::vector<int64_t> numbers = list_numbers(view, n, codes);
    if (view.by_residual) {
        std::sort(numbers.begin(), numbers.end());
        numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
        std::vector<float> centroid(view.d);
        for (const int64_t number : numbers)
            reconstruct_centroid(view.quantizer, size_t(number), centroid.data());
    }
    ivf->sa_decode(self, n, codes, x);
}

void merge_from(void* self, void* other, int64_t add_id) {
    if (self == other) throw std::invalid_argument("cannot merge an index with itself");
    changeable_view(self);
    if (ivf->overridden.is_instance(other)) require_same_quantizer(ivf_view(self), changeable_view(other));
    const std::shared_ptr<IndexState> emptied = find_state(other);
    std::optional<Change> emptying;
    if (emptied) emptying.emplace(*emptied);
    append(self, [&] { ivf->merge_from(self, other, add_id); });
}

size_t remove_ids(void* self, const void* selector) {
    changeable_view(self);
    const std::shared_ptr<IndexState> state = state_of(self);
    const Change change(*state);
    return ivf->remove_ids(self, selector);
}

void update_vectors(void* self, int n, const int64_t* ids, const float* x) {
    require_encodable(changeable_view(self));
    require_finite(ivf_view(self), n, x);
    const std::shared_ptr<IndexState> state = state_of(self);
    const Change change(*state);
    ivf->update_vectors(self, n, ids, x);
}

void reset(void* self) {
    changeable_view(self);
    const std::shared_ptr<IndexState> state = state_of(self);
    const Change change(*state);
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
    library.find("_ZTIN5faiss16SearchParametersE", parameters_type);
    library.find("_ZTIN5faiss19SearchParametersIVFE", ivf_parameters_type);
    OverriddenClass& o = overridden;
    destroy = o.replace("destroy", kDestroy, plugin::destroy);
    destroy_and_free = o.replace("destroy_and_free", kDestroyAndFree, plugin::destroy_and_free);
    search =
        o.replace("search", "_ZNK5faiss8IndexIVF6searchElPKflPfPlPKNS_16SearchParametersE", plugin::search);
    search_slot = o.replaced().at("search");
    search_and_reconstruct =
        o.replace("search_and_reconstruct",
                  "_ZNK5faiss8IndexIVF22search_and_reconstructElPKflPfPlS3_PKNS_16SearchParametersE",
                  plugin::search_and_reconstruct);
    reconstruct = o.replace("reconstruct", "_ZNK5faiss8IndexIVF11reconstructElPf", plugin::reconstruct);
    reconstruct_n =
        o.replace("reconstruct_n", "_ZNK5faiss8IndexIVF13reconstruct_nEllPf", plugin::reconstruct_n);
    reconstruct_from_offset = o.replace("reconstruct_from_offset",
                                        "_ZNK5faiss25IndexIVFAdditiveQuantizer23reconstruct_from_offsetEllPf",
                                        plugin::reconstruct_from_offset);
    range_search =
        o.replace("range_search",
                  "_ZNK5faiss8IndexIVF12range_searchElPKffPNS_17RangeSearchResultEPKNS_16SearchParametersE",
                  plugin::range_search);
    search_preassigned = o.replace("search_preassigned", kSearchPreassigned, plugin::search_preassigned);
    range_search_preassigned =
        o.replace("range_search_preassigned", kRangeSearchPreassigned, plugin::range_search_preassigned);
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
    add_sa_codes =
        o.replace("add_sa_codes", "_ZN5faiss8IndexIVF12add_sa_codesElPKhPKl", plugin::add_sa_codes);
    sa_decode =
        o.replace("sa_decode", "_ZNK5faiss25IndexIVFAdditiveQuantizer9sa_decodeElPKhPf", plugin::sa_decode);
    remove_ids =
        o.replace("remove_ids", "_ZN5faiss8IndexIVF10remove_idsERKNS_10IDSelectorE", plugin::remove_ids);
    reset = o.replace("reset", "_ZN5faiss8IndexIVF5resetEv", plugin::reset);
    merge_from = o.replace("merge_from", "_ZN5faiss8IndexIVF10merge_fromERNS_5IndexEl", plugin::merge_from);
    update_vectors =
        o.replace("update_vectors", "_ZN5faiss8IndexIVF14update_vectorsEiPKlPKf", plugin::update_vectors);

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
