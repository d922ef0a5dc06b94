#include "faiss_plugin/ivf_search.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/search/lists/search.h"
#include "faiss_abi/inverted_lists.h"
#include "faiss_abi/openmp.h"
#include "faiss_plugin/common.h"
#include "faiss_plugin/ivf_stock.h"
#include "faiss_plugin/parameters.h"
#include "faiss_plugin/scanner.h"
#include "index/list_state.h"

namespace drq::plugin::ivf {

namespace {

IvfView searchable_view(const void* index) { return searchable_ivf_view(index, state_of(index)->version()); }

/// What a call of search_preassigned asks for.
struct Request {
    size_t nprobe = 0, max_codes = 0;
    const void* selector = nullptr;
    const void* quantizer_parameters = nullptr;
    Depth depth;
    bool plain = true;             ///< nothing that decides, query by query, how far to go on
    bool ours = true;              ///< nothing that only the library's own searches do
    bool nprobe_of_index = false;  ///< the parameters have another number, for the library
};

/// FAISS refuses search parameters of another class as well.
void require_ivf_parameters(const void* parameters) {
    constexpr std::ptrdiff_t kUnknown = -1;
    if (parameters &&
        !abi::__dynamic_cast(parameters, stock->parameters_type, stock->ivf_parameters_type, kUnknown))
        throw std::invalid_argument("params: expected SearchParametersIVF");
}

/// Parameters may leave nprobe to the index, but to none that others have `assigned` queries to lists for.
Request request_of(const void* self, const IvfView& view, const void* parameters, bool assigned) {
    constexpr int kKeepsHeaps = 1024;  // faiss::IndexIVF::PARALLEL_MODE_NO_HEAP_INIT
    const Layout& at = layout();
    Request request;
    request.depth = checked_depth(*state_of(self), view, parameters);
    request.nprobe = view.nprobe;
    request.max_codes = view.max_codes;
    if (parameters) {
        request.nprobe_of_index = !assigned && leave_nprobe_to_index(parameters);
        if (!request.nprobe_of_index) request.nprobe = field<size_t>(parameters, at.params_nprobe);
        request.max_codes = field<size_t>(parameters, at.params_max_codes);
        request.selector = selector_of(parameters);
        request.quantizer_parameters = field<const void*>(parameters, at.params_quantizer_params);
        request.ours = field<size_t>(parameters, at.params_max_lists_num) == 0 &&
                       field<size_t>(parameters, at.params_max_empty_result_buckets) == 0 &&
                       field<const void*>(parameters, at.params_inverted_list_context) == nullptr;
    }
    request.nprobe = std::min(request.nprobe, view.nlist);
    request.ours = request.ours && request.nprobe > 0 && !(view.parallel_mode & kKeepsHeaps) &&
                   !(view.lists && uses_iterator(view.lists));
    request.plain = request.ours && request.max_codes == 0 && view.parallel_mode == 0;
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

    /// Lets every query look at no more than `most` codes, those of its first lists. The last of these is one
    /// more list, which ends sooner.
    void limit(size_t per_query, size_t most) {
        for (size_t first = 0; first < index_.size(); first += per_query) {
            size_t left = most;
            for (size_t p = first; p < first + per_query; p++) {
                if (left == 0) index_[p] = -1;
                if (index_[p] < 0) continue;
                InvertedList list = lists_[size_t(index_[p])];
                if (list.n > left) {
                    list.n = left;
                    index_[p] = int32_t(lists_.size());
                    lists_.push_back(list);
                }
                left -= list.n;
            }
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
    if (!stats) stats = stock->total_stats;
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
    const size_t levels = request.depth.levels;
    ProbedLists probed(view, size_t(call.n) * request.nprobe, call.keys);
    const PreparedLists prepared = probed.prepare(*state, view, levels, call.store_pairs);
    if (request.max_codes) probed.limit(request.nprobe, request.max_codes);
    const Selector selector{is_member, request.selector};
    const ListDatabase database{*prepared.quantizer,
                                view.code_size,
                                levels,
                                metric_of(view.metric_type),
                                view.by_residual,
                                prepared.origin(),
                                request.selector ? &selector : nullptr,
                                prepared.renumbered.get()};
    ListStats done;
    const bool ip = database.metric == Metric::InnerProduct;
    const auto results =
        search(database, probed.lists(),
               Probes{request.nprobe, probed.index(), ip ? call.centroid_distances : nullptr}, done);
    count(call.stats, size_t(call.n), done);
    return results;
}

/// The library ranks no shortlists, so whatever can be is searched by list for that.
bool goes_by_list(const Request& request, bool store_pairs) {
    return (request.depth.refine_factor ? request.ours : request.plain) && !(store_pairs && request.selector);
}

/// Before FAISS searches itself: it reads the parameters.
void require_nprobe(const Request& request) {
    if (request.nprobe_of_index)
        throw std::invalid_argument(
            "nprobe is None, expected a number: searches inside other indexes with max_codes, a "
            "parallel_mode or "
            "lists that are read by iterators are FAISS's own, which does not know the index's");
}

/// Before FAISS searches itself: with its own scanner, which knows no levels, or ours, which has no
/// shortlist.
void require_scanner(const Request& request, const IvfView& view) {
    require_nprobe(request);
    const size_t levels = request.depth.levels;
    if (request.depth.refine_factor)
        throw std::invalid_argument(
            "refine_factor is " + std::to_string(request.depth.refine_factor) +
            ", expected none: searches of lists that are read by iterators, with max_lists_num, "
            "max_empty_result_buckets or into heaps that a caller has begun are FAISS's own");
    if (!stock->has_scanner && levels < view.codebooks.nbits.size())
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
        require_scanner(request, view);
        stock->search_preassigned(call.self, call.n, call.x, k, call.keys, call.centroid_distances, distances,
                                  ids, call.store_pairs, call.parameters, call.stats);
        return;
    }
    const Depth& depth = request.depth;
    with_lists(call, view, request,
               [&](const ListDatabase& database, const std::vector<InvertedList>& lists, const Probes& probes,
                   ListStats& done) {
                   two_stage_search_lists(database, {depth.refine_levels, depth.refine_factor}, lists.data(),
                                          lists.size(), size_t(call.n), call.x, probes, size_t(k), distances,
                                          ids, done, executor());
                   return 0;
               });
}

/// range_search_preassigned in an index that has been looked at.
void range_search_viewed(const Call& call, const IvfView& view, Request request, float radius, void* result) {
    if (!goes_by_list(request, call.store_pairs)) {
        require_scanner(request, view);
        stock->range_search_preassigned(call.self, call.n, call.x, radius, call.keys, call.centroid_distances,
                                        result, call.store_pairs, call.parameters, call.stats);
        return;
    }
    request.max_codes = 0;  // the library's own do not stop there either
    write_range_result(
        result, with_lists(call, view, request,
                           [&](const ListDatabase& database, const std::vector<InvertedList>& lists,
                               const Probes& probes, ListStats& done) {
                               return range_search_lists(database, lists.data(), lists.size(), size_t(call.n),
                                                         call.x, radius, probes, done, executor());
                           }));
}

/// What the coarse quantizer finds for n queries: (n, nprobe) each.
struct Assignment {
    std::vector<int64_t> keys;
    std::vector<float> distances;
};

Assignment assign(const IvfView& view, const Request& request, size_t n, const float* x) {
    Assignment found{std::vector<int64_t>(n * request.nprobe), std::vector<float>(n * request.nprobe)};
    call_virtual<void>(view.quantizer, stock->search_slot, int64_t(n), x, int64_t(request.nprobe),
                       found.distances.data(), found.keys.data(), request.quantizer_parameters);
    return found;
}

}  // namespace

void search_preassigned(const void* self, int64_t n, const float* x, int64_t k, const int64_t* keys,
                        const float* centroid_distances, float* distances, int64_t* ids, bool store_pairs,
                        const void* parameters, void* stats) {
    const IvfView view = searchable_view(self);
    search_viewed({self, n, x, keys, centroid_distances, store_pairs, parameters, stats}, view,
                  request_of(self, view, parameters, true), k, distances, ids);
}

/// Not in slices, as the library's own: only one of its threads would know that Ctrl-C was pressed.
void search(const void* self, int64_t n, const float* x, int64_t k, float* distances, int64_t* ids,
            const void* parameters) {
    const IvfView view = searchable_view(self);
    require_ivf_parameters(parameters);
    const Request request = request_of(self, view, parameters, false);
    if (n <= 0 || k <= 0 || !goes_by_list(request, false)) {
        require_nprobe(request);
        stock->search(self, n, x, k, distances, ids, parameters);
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
    const Request request = request_of(self, view, parameters, false);
    if (n <= 0 || k <= 0 || request.nprobe == 0) {
        require_nprobe(request);
        stock->search_and_reconstruct(self, n, x, k, distances, ids, vectors, parameters);
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
        stock->reconstruct_from_offset(self, list, row, vectors + i * view.d);
    }
}

/// The library looks at the lists before it calls range_search_preassigned.
void range_search(const void* self, int64_t n, const float* x, float radius, void* result,
                  const void* parameters) {
    const IvfView view = searchable_view(self);
    require_ivf_parameters(parameters);
    const Request request = request_of(self, view, parameters, false);
    if (n <= 0 || !request.nprobe_of_index) {
        stock->range_search(self, n, x, radius, result, parameters);
        return;
    }
    const Assignment found = assign(view, request, size_t(n), x);
    range_search_viewed({self, n, x, found.keys.data(), found.distances.data(), false, parameters, nullptr},
                        view, request, radius, result);
}

void range_search_preassigned(const void* self, int64_t n, const float* x, float radius, const int64_t* keys,
                              const float* centroid_distances, void* result, bool store_pairs,
                              const void* parameters, void* stats) {
    const IvfView view = searchable_view(self);
    range_search_viewed({self, n, x, keys, centroid_distances, store_pairs, parameters, stats}, view,
                        request_of(self, view, parameters, true), radius, result);
}

void* get_InvertedListScanner(const void* self, bool store_pairs, const void* selector,
                              const void* parameters) {
    return new_scanner(self, store_pairs, selector, parameters);
}

}  // namespace drq::plugin::ivf
