#include "faiss_plugin/scanner.h"

#include <memory>
#include <optional>
#include <stdexcept>

#include "core/search/lists/norms.h"
#include "core/search/lists/queries.h"
#include "core/search/lists/scan.h"
#include "faiss_abi/inverted_lists.h"
#include "faiss_plugin/common.h"
#include "index/list_state.h"

namespace drq::plugin {

const size_t kScannerRoom = 256;

namespace {

/// faiss::ResultHandler, whose virtual function add_result is in slot 0. No proxy shows these fields; the
/// import check compares searches and statistics with FAISS's own.
struct Handler {
    const void* vtable;
    float threshold;
    size_t scan_cnt, nheap_updates;

    bool add_result(float distance, int64_t id) { return call_virtual<bool>(this, 0, distance, id); }
};

/// Hands a scan's results on to FAISS.
class HandlerSink final : public Sink {
  public:
    explicit HandlerSink(float sign) : sign_(sign) {}

    void scan_for(Handler* handler) {
        handler_ = handler;
        bound_ = sign_ * handler->threshold;
    }

    void offer(float key, int64_t id) override {
        if (!(key < sign_ * handler_->threshold)) return;
        if (handler_->add_result(sign_ * key, id)) updates++;
        bound_ = sign_ * handler_->threshold;
    }

    size_t updates = 0;

  private:
    const float sign_;
    Handler* handler_ = nullptr;
};

/// The levels that a scanner compares. It sees one list, or one code, at a time, of which nobody takes a
/// shortlist.
size_t scanned_levels(const IndexState& state, const IvfView& view, const void* parameters) {
    const Depth depth = checked_depth(state, view, parameters);
    if (depth.refine_factor)
        throw std::invalid_argument("refine_factor is " + std::to_string(depth.refine_factor) +
                                    ", expected none: a scanner ranks no shortlist, search() does");
    return depth.levels;
}

/// What our scanner knows.
class ListSearch {
  public:
    ListSearch(const void* index, bool store_pairs, const void* selector, const void* parameters)
        : state_(std::static_pointer_cast<IvfState>(state_of(index))),
          view_(searchable_ivf_view(index, state_->version())),
          levels_(scanned_levels(*state_, view_, parameters)),
          prepared_(state_->prepare(view_, levels_, {}, {}, Executor())),
          selector_{is_member, selector},
          database_{*prepared_.quantizer,
                    view_.code_size,
                    levels_,
                    metric_of(view_.metric_type),
                    view_.by_residual,
                    prepared_.origin(),
                    selector ? &selector_ : nullptr,
                    prepared_.renumbered.get()},
          store_pairs_(store_pairs),
          sign_(database_.metric == Metric::L2 ? 1 : -1),
          sink_(sign_) {}

    void set_query(const float* x) {
        scanner_.reset();
        queries_.emplace(database_, 1);
        Sink* sink = &sink_;
        queries_->prepare(0, 1, &x, &sink);
        scanner_.emplace(database_, queries_->scorer());
    }

    void set_list(int64_t number, float centroid_distance) {
        number_ = size_t(number);
        read_list();
        centroid_distance_ = centroid_distance;
        queries_->enter(0, list_, centroid_distance_);
    }

    /// Scans n codes, which are those of the list or a part of them.
    size_t scan(size_t n, const uint8_t* codes, const int64_t* ids, Handler& handler) {
        if (n == 0) return 0;
        InvertedList part = list_;
        part.codes = codes;
        part.n = n;
        part.ids = store_pairs_ ? nullptr : ids;
        part.first_id = int64_t(uint64_t(number_) << 32);
        std::vector<float> computed;
        part.norms = norms_of(codes, n, computed);
        if (!computed.empty()) part.lowest_norm = *std::min_element(computed.begin(), computed.end());

        sink_.scan_for(&handler);
        sink_.updates = 0;
        const bool finite = queries_->enter(0, part, centroid_distance_) && queries_->is_finite(0);
        ScanQuery* query = &(*queries_)[0];
        handler.scan_cnt += scanner_->scan(part, &query, finite ? 1 : 0);
        handler.nheap_updates += sink_.updates;
        return sink_.updates;
    }

    float distance(const uint8_t* code) const {
        std::vector<float> computed;
        const float* norm = norms_of(code, 1, computed);
        std::vector<int32_t> indices(levels_);
        unpack_codes(*prepared_.quantizer, {code, 1, view_.code_size}, 0, 1, levels_, indices.data());
        return sign_ * queries_->key(0, indices.data(), norm ? *norm : 0);
    }

  private:
    /// Quantizer and origin stay those of the scanner's beginning.
    void read_list() {
        std::vector<ReadList> read;
        if (!uses_iterator(view_.lists)) read.emplace_back(view_.lists, number_);
        const std::vector<ListCodes> codes(read.begin(), read.end());
        PreparedLists now = state_->prepare(view_, levels_, {number_}, codes, Executor());
        const bool same = now.quantizer == prepared_.quantizer && now.centre == prepared_.centre;
        prepared_.centroids = std::move(now.centroids);
        prepared_.norms = std::move(now.norms);
        list_ = prepared_.list(0, same && !read.empty() ? &codes[0] : nullptr);
    }

    /// The cached norms, if the codes lie in the index's list, or `computed`.
    const float* norms_of(const uint8_t* codes, size_t n, std::vector<float>& computed) const {
        if (database_.metric != Metric::L2) return nullptr;
        const uint8_t* end = list_.codes + list_.n * view_.code_size;
        if (codes >= list_.codes && codes + n * view_.code_size <= end)
            return list_.norms + size_t(codes - list_.codes) / view_.code_size;
        computed.resize(n);
        list_norms(*prepared_.quantizer, {codes, n, view_.code_size}, levels_, list_.centroid,
                   database_.origin, computed.data());
        return computed.data();
    }

    const std::shared_ptr<IvfState> state_;
    const IvfView view_;
    const size_t levels_;
    PreparedLists prepared_;
    const Selector selector_;
    const ListDatabase database_;
    const bool store_pairs_;
    const float sign_;
    HandlerSink sink_;
    std::optional<ListQueries> queries_;
    std::optional<ListScanner> scanner_;
    InvertedList list_;
    size_t number_ = 0;
    float centroid_distance_ = 0;
};

/// The object: room for FAISS's base class, then our part.
struct Scanner {
    alignas(16) unsigned char base[kScannerRoom] = {};
    ListSearch search;

    template <class... Arguments>
    explicit Scanner(Arguments... arguments) : search(arguments...) {}
};

Vtable* scanner_vtable = nullptr;

void set_query(Scanner* self, const float* x) { self->search.set_query(x); }

void set_list(Scanner* self, int64_t number, float centroid_distance) {
    field<int64_t>(self, layout().scanner_list_no) = number;
    self->search.set_list(number, centroid_distance);
}

float distance_to_code(const Scanner* self, const uint8_t* code) { return self->search.distance(code); }

size_t scan_codes(Scanner* self, size_t n, const uint8_t* codes, const int64_t* ids, Handler* handler) {
    return self->search.scan(n, codes, ids, *handler);
}

void destroy(Scanner* self) { self->~Scanner(); }

void destroy_and_free(Scanner* self) { delete self; }

}  // namespace

void open_scanner(const Library& library) {
    constexpr const char* kClass = "_ZTVN5faiss19InvertedListScannerE";
    auto vtable = std::make_unique<Vtable>(library, kClass);
    // set_query and distance_to_code are abstract and the destructors not exported: they are where the others
    // leave room, in the order of their declaration.
    const size_t set_list_slot = vtable->slot("_ZN5faiss19InvertedListScanner8set_listElf");
    const size_t scan_codes_slot =
        vtable->slot("_ZNK5faiss19InvertedListScanner10scan_codesEmPKhPKlRNS_22ResultHandlerUnorderedIflEE");
    if (set_list_slot != 1 || scan_codes_slot != 6 || vtable->slots() != 9 ||
        vtable->stock(0) != vtable->stock(2))
        throw std::runtime_error(std::string(kClass) + " has set_list in slot " +
                                 std::to_string(set_list_slot) + " and scan_codes in " +
                                 std::to_string(scan_codes_slot) + " of " + std::to_string(vtable->slots()) +
                                 ", expected 1 and 6 of 9");
    const auto replace = [&](size_t slot, auto ours) {
        vtable->replace(slot, reinterpret_cast<const void*>(ours));
    };
    replace(0, set_query);
    replace(1, plugin::set_list);
    replace(2, distance_to_code);
    replace(6, plugin::scan_codes);
    replace(7, destroy);
    replace(8, destroy_and_free);
    scanner_vtable = vtable.release();  // never freed, as all our virtual tables
}

void* new_scanner(const void* index, bool store_pairs, const void* selector, const void* parameters) {
    auto scanner = std::make_unique<Scanner>(index, store_pairs, selector, parameters);
    const IvfView view = ivf_view(index);
    const Layout& at = layout();
    field<const void*>(scanner.get(), 0) = scanner_vtable->pointer();
    field<int64_t>(scanner.get(), at.scanner_list_no) = -1;
    field<bool>(scanner.get(), at.scanner_keep_max) = metric_of(view.metric_type) == Metric::InnerProduct;
    field<bool>(scanner.get(), at.scanner_store_pairs) = store_pairs;
    field<const void*>(scanner.get(), at.scanner_sel) = selector;
    field<size_t>(scanner.get(), at.scanner_code_size) = view.code_size;
    return scanner.release();
}

}  // namespace drq::plugin
