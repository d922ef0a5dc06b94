#include "faiss_plugin/flat_class.h"

#include <numeric>
#include <optional>
#include <stdexcept>

#include "core/search/flat.h"
#include "core/search/two_stage.h"
#include "faiss_abi/layout.h"
#include "faiss_abi/openmp.h"
#include "faiss_plugin/common.h"
#include "index/codec_io.h"
#include "index/flat_state.h"

namespace drq::plugin {

const size_t kSelectorRoom = 64;

namespace {

constexpr const char* kClass = "_ZTVN5faiss22IndexResidualQuantizerE";

/// The class, and the library's functions that ours call.
struct FlatClass {
    OverriddenClass overridden;

    void (*destroy)(void*);
    void (*destroy_and_free)(void*);
    void (*train)(void*, int64_t, const float*);
    void (*add_sa_codes)(void*, int64_t, const uint8_t*, const int64_t*);
    size_t (*remove_ids)(void*, const void* selector);
    void (*reset)(void*);
    void (*merge_from)(void*, void* other, int64_t add_id);
    void (*reconstruct_n)(const void*, int64_t first, int64_t n, float*);
    void* (*get_decoding_distance_computer)(const void*);  ///< the base class's, for any codes
    void (*construct_range_selector)(void*, int64_t begin, int64_t end, bool assume_sorted);

    explicit FlatClass(const Library& library);
};

FlatClass* flat = nullptr;

std::shared_ptr<FlatState> flat_state(const void* index) {
    return std::static_pointer_cast<FlatState>(state_of(index));
}

/// With the levels of the index's tail.
FlatView searchable_view(const void* index, const FlatState& state) {
    const Version version = state.version();
    FlatView view = flat_view(index);
    view.version = version;
    require_searchable(view);
    state.add_tail(view);
    return view;
}

/// Calls search(database), for n queries, with the index's codes, norms and selector in place.
template <class Search>
auto with_database(const void* index, int64_t n, const void* parameters, const Search& search) {
    const std::shared_ptr<FlatState> state = flat_state(index);
    const FlatView view = searchable_view(index, *state);
    const Depth depth = checked_depth(*state, view, parameters);
    const Prepared prepared = state->prepare(view, depth.levels, size_t(n), executor());
    const Selector selector{is_member, selector_of(parameters)};
    return search(prepared.database(view, depth.levels, selector.self ? &selector : nullptr), depth);
}

void search(const void* self, int64_t n, const float* x, int64_t k, float* distances, int64_t* ids,
            const void* parameters) {
    if (k <= 0) throw std::invalid_argument("k is " + std::to_string(k) + ", expected at least 1");
    with_database(self, n, parameters, [&](const Database& database, const Depth& depth) {
        two_stage_search(database, {depth.refine_levels, depth.refine_factor}, size_t(n), x, size_t(k),
                         distances, ids, executor());
    });
}

/// There is no shortlist of all that is within a radius: the levels that are scanned decide.
void range_search(const void* self, int64_t n, const float* x, float radius, void* result,
                  const void* parameters) {
    const auto found = with_database(self, n, parameters, [&](const Database& database, const Depth&) {
        return drq::range_search(database, size_t(n), x, radius, executor());
    });
    write_range_result(result, found);
}

void encode_all(const void* self, int64_t n, const float* x, uint8_t* packed, const CodesSink& also) {
    const std::shared_ptr<FlatState> state = flat_state(self);
    const FlatView view = searchable_view(self, *state);
    const void* rq = static_cast<const char*>(self) + layout().rq;
    encode(*state, view, rq, view.codes.code_size, n, x, packed, also);
}

void sa_encode(const void* self, int64_t n, const float* x, uint8_t* packed) {
    encode_all(self, n, x, packed, {});
}

void reconstruct_n(const void* self, int64_t first, int64_t n, float* x) {
    const std::shared_ptr<FlatState> state = flat_state(self);
    searchable_view(self, *state);
    flat->reconstruct_n(self, first, n, x);
    const std::shared_ptr<const StoredTail> tail = state->tail();
    if (!tail) return;
    std::vector<int64_t> rows(static_cast<size_t>(n));
    std::iota(rows.begin(), rows.end(), first);
    tail->add_to(rows.size(), rows.data(), x);
}

/// For graphs and refinement over the index: distances of decoded vectors. Some of the library's own throw
/// inside its threads, which ends the process, leave out norms, or compare two vectors by another measure.
void* get_distance_computer(const void* self) { return flat->get_decoding_distance_computer(self); }

/// An index whose last levels are in a file can only be appended to.
void require_whole(const void* self, const char* what) {
    if (const auto tail = flat_state(self)->tail())
        throw std::runtime_error(std::string(what) + ": the last " + std::to_string(tail->levels()) +
                                 " levels of the codes are in " + tail->name() +
                                 ", expected all in memory, see drqfaiss.join_tail");
}

void train(void* self, int64_t n, const float* x) {
    require_whole(self, "train");
    const std::shared_ptr<IndexState> state = state_of(self);
    if (state->training().empty()) {
        flat->train(self, n, x);
    } else {
        train_quantizer(*state, flat_view(self), &field<char>(self, layout().rq), n, x);
        field<bool>(self, layout().is_trained) = true;
    }
    state->forget();
}

/// The view of an index whose codes are about to change. The library ends the process if they are in a mapped
/// file.
FlatView changeable_view(const void* index) {
    const FlatView view = flat_view(index);
    if (!view.codes_owned)
        throw std::runtime_error("the codes are in a mapped file, expected an index read into memory");
    require_codes(view);
    return view;
}

/// Runs a library function that only appends codes to the index.
template <class Append>
void append(void* self, const Append& stock) {
    const std::shared_ptr<FlatState> state = flat_state(self);
    const FlatView view = changeable_view(self);
    Change change(*state);
    state->before_change(view);
    stock();
    state->after_append(flat_view(self), change);
}

void append_codes(void* self, int64_t n, const uint8_t* codes, const int64_t* ids) {
    append(self, [&] { flat->add_sa_codes(self, n, codes, ids); });
}

void add_sa_codes(void* self, int64_t n, const uint8_t* codes, const int64_t* ids) {
    require_whole(self, "add_sa_codes");
    append_codes(self, n, codes, ids);
}

/// The library's own makes room before it encodes, which may fail or be interrupted. The tail comes first:
/// rows of it that the index has no vectors for do not count.
void add(void* self, int64_t n, const float* x) {
    const FlatView view = changeable_view(self);
    std::vector<uint8_t> codes(size_t(n) * view.codes.code_size);
    const std::shared_ptr<FlatState> state = flat_state(self);
    std::shared_ptr<const StoredTail> tail = state->tail();
    std::vector<uint8_t> rows(tail ? size_t(n) * tail->row_size() : 0);
    encode_all(self, n, x, codes.data(), [&](size_t begin, size_t count, const int32_t* all) {
        if (tail)
            tail->pack(count, all, view.codebooks.nbits.size() + tail->levels(),
                       rows.data() + begin * tail->row_size());
    });
    tail.reset();  // shared tails are copied before they grow
    if (!rows.empty()) state->append_to_tail(flat_view(self).ntotal, size_t(n), rows.data());
    append_codes(self, n, codes.data(), nullptr);
}

void merge_from(void* self, void* other, int64_t add_id) {
    if (self == other) throw std::invalid_argument("cannot merge an index with itself");
    for (void* index : {self, other})
        if (find_state(index) && flat->overridden.is_ours(index)) require_whole(index, "merge_from");
    if (flat->overridden.is_instance(other)) require_same_quantizer(flat_view(self), changeable_view(other));
    const std::shared_ptr<IndexState> emptied = find_state(other);
    std::optional<Change> emptying;
    if (emptied) emptying.emplace(*emptied);
    append(self, [&] { flat->merge_from(self, other, add_id); });
}

/// Asks the selector once for each row, and before the first code moves, as it may throw. The library is left
/// to cut off the end.
size_t remove_ids(void* self, const void* selector) {
    require_whole(self, "remove_ids");
    const FlatView view = changeable_view(self);
    const std::shared_ptr<FlatState> state = flat_state(self);
    Change change(*state);
    state->before_change(view);
    const std::vector<uint8_t> removed =
        bitmap_of(view.ntotal, [&](int64_t id) { return is_member(selector, id); });
    const size_t left =
        remove_rows(const_cast<uint8_t*>(view.codes.data), view.ntotal, view.codes.code_size, removed);
    alignas(16) unsigned char rest[kSelectorRoom];  // a faiss::IDSelectorRange, which owns nothing
    flat->construct_range_selector(rest, int64_t(left), int64_t(view.ntotal), false);
    const size_t count = flat->remove_ids(self, rest);
    state->after_remove(flat_view(self), removed, change);
    return count;
}

void reset(void* self) {
    require_whole(self, "reset");
    changeable_view(self);
    const std::shared_ptr<IndexState> state = state_of(self);
    const Change change(*state);
    flat->reset(self);
}

void destroy(void* self) {
    erase_state(self);
    flat->destroy(self);
}

void destroy_and_free(void* self) {
    erase_state(self);
    flat->destroy_and_free(self);
}

FlatClass::FlatClass(const Library& library) : overridden(library, kClass) {
    OverriddenClass& o = overridden;
    o.replace("search", "_ZNK5faiss22IndexAdditiveQuantizer6searchElPKflPfPlPKNS_16SearchParametersE",
              plugin::search);
    o.replace(
        "range_search",
        "_ZNK5faiss14IndexFlatCodes12range_searchElPKffPNS_17RangeSearchResultEPKNS_16SearchParametersE",
        plugin::range_search);
    o.replace("sa_encode", "_ZNK5faiss22IndexAdditiveQuantizer9sa_encodeElPKfPh", plugin::sa_encode);
    o.replace("get_FlatCodesDistanceComputer",
              "_ZNK5faiss22IndexAdditiveQuantizer29get_FlatCodesDistanceComputerEv", get_distance_computer);
    library.find("_ZNK5faiss14IndexFlatCodes29get_FlatCodesDistanceComputerEv",
                 get_decoding_distance_computer);
    train = o.replace("train", "_ZN5faiss22IndexResidualQuantizer5trainElPKf", plugin::train);
    o.replace("add", "_ZN5faiss14IndexFlatCodes3addElPKf", plugin::add);
    add_sa_codes =
        o.replace("add_sa_codes", "_ZN5faiss14IndexFlatCodes12add_sa_codesElPKhPKl", plugin::add_sa_codes);
    remove_ids = o.replace("remove_ids", "_ZN5faiss14IndexFlatCodes10remove_idsERKNS_10IDSelectorE",
                           plugin::remove_ids);
    library.find("_ZN5faiss15IDSelectorRangeC1Ellb", construct_range_selector);
    reconstruct_n =
        o.replace("reconstruct_n", "_ZNK5faiss14IndexFlatCodes13reconstruct_nEllPf", plugin::reconstruct_n);
    reset = o.replace("reset", "_ZN5faiss14IndexFlatCodes5resetEv", plugin::reset);
    merge_from =
        o.replace("merge_from", "_ZN5faiss14IndexFlatCodes10merge_fromERNS_5IndexEl", plugin::merge_from);

    // The destructors are not exported. They are declared first, so the table starts with the pair of them.
    constexpr size_t kDestructors = 2;
    if (const size_t slot = o.replaced().at("train"); slot != kDestructors)
        throw std::runtime_error("train is in slot " + std::to_string(slot) + " of " + kClass +
                                 ", expected " + std::to_string(kDestructors) + ", after the destructors");
    destroy = o.replace("destroy", size_t{0}, plugin::destroy);
    destroy_and_free = o.replace("destroy_and_free", size_t{1}, plugin::destroy_and_free);
}

}  // namespace

void open_flat_class(const Library& library) {
    if (!flat)
        flat = new FlatClass(library);  // never freed: indexes may be destroyed after static destructors ran
}

std::map<std::string, size_t> flat_slots() { return flat->overridden.replaced(); }

const OverriddenClass& flat_class() { return flat->overridden; }

std::string why_not_flat(const void* index) { return unsupported(flat_view(index)); }

size_t pack_flat(const void* index, size_t levels) {
    const std::shared_ptr<FlatState> state = flat_state(index);
    state->pack(searchable_view(index, *state), levels);
    return state->plane_bytes();
}

void set_tail_flat(const void* index, const StoredTail& tail) { flat_state(index)->set_tail(tail); }

std::shared_ptr<const StoredTail> tail_of_flat(const void* index) { return flat_state(index)->tail(); }

void unpack_flat(const void* index) { flat_state(index)->unpack(); }

size_t packed_levels_flat(const void* index) { return flat_state(index)->packed_levels(); }

void adopt_flat(void* index) {
    add_state(index, std::make_shared<FlatState>());
    flat->overridden.take(index);
}

}  // namespace drq::plugin
