#include "faiss_plugin/flat_index.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "core/encode.h"
#include "core/search.h"
#include "faiss_plugin/abi.h"
#include "faiss_plugin/openmp.h"
#include "faiss_plugin/parameters.h"
#include "faiss_plugin/state.h"

namespace drq::plugin {

namespace {

constexpr const char* kClass = "_ZTVN5faiss22IndexResidualQuantizerE";

/// The class: the library's virtual table, our copy of it, and the library's functions that ours call.
struct FlatClass {
    Library library;
    Vtable vtable;
    size_t is_member, do_allocation;  ///< slots of IDSelector and RangeSearchResult
    std::map<std::string, size_t> replaced;

    void (*destroy)(void*);
    void (*destroy_and_free)(void*);
    void (*train)(void*, int64_t, const float*);
    void (*add)(void*, int64_t, const float*);
    void (*add_sa_codes)(void*, int64_t, const uint8_t*, const int64_t*);
    size_t (*remove_ids)(void*, const void* selector);
    void (*reset)(void*);
    void (*merge_from)(void*, void* other, int64_t add_id);
    void* (*get_FlatCodesDistanceComputer)(const void*);
    void* (*get_decoding_distance_computer)(const void*);  ///< the base class's, for any codes
    void (*compute_codebook_tables)(void* rq);
    void (*pack_codes)(const void* rq, size_t n, const int32_t* codes, uint8_t* packed, int64_t ld_codes,
                       const float* norms, const float* centroids);

    explicit FlatClass(const void* index);
};

FlatClass* flat = nullptr;

Trainer& trainer() {
    static Trainer& instance =
        *new Trainer;  // may hold a Python object, which must not outlive the interpreter
    return instance;
}

/// Whether an index is of the class that view_of reads, adopted or not.
bool is_residual_quantizer(const void* index) {
    const void* vtable = field<const void*>(index, 0);
    return vtable == flat->vtable.stock_pointer() || vtable == flat->vtable.pointer();
}

size_t checked_levels(const void* index, const IndexView& view, const void* parameters) {
    size_t levels = parameters ? parameter_levels(parameters) : 0;
    if (!levels) levels = state_of(index)->levels;
    const size_t M = view.codebooks.nbits.size();
    if (levels > M)
        throw std::invalid_argument("levels is " + std::to_string(levels) + ", expected 0 (all) to " +
                                    std::to_string(M));
    return levels ? levels : M;
}

IndexView searchable_view(const void* index) {
    const IndexView view = view_of(index);
    if (!view.is_trained) throw std::runtime_error("the index is not trained");
    if (view.codes_size < view.ntotal * view.codes.code_size)
        throw std::runtime_error("the index holds " + std::to_string(view.codes_size) + " bytes of codes, " +
                                 std::to_string(view.ntotal) + " vectors of " +
                                 std::to_string(view.codes.code_size) + " bytes need more");
    return view;
}

bool is_member(const void* selector, int64_t id) { return call_virtual<bool>(selector, flat->is_member, id); }

/// Calls search(database) with the index's codes, norms and selector in place.
template <class Search>
auto with_database(const void* index, const void* parameters, const Search& search) {
    const IndexView view = searchable_view(index);
    const Metric metric = metric_of(view.metric_type);
    const size_t levels = checked_levels(index, view, parameters);
    const Prepared prepared = state_of(index)->prepare(view, levels, executor());
    const Selector selector{is_member,
                            parameters ? field<const void*>(parameters, layout().params_sel) : nullptr};
    return search(
        Database{*prepared.quantizer, view.codes, levels, metric,
                 prepared.norms ? Norms{prepared.norms->values.data(), prepared.norms->lowest} : Norms{},
                 selector.self ? &selector : nullptr});
}

void search(const void* self, int64_t n, const float* x, int64_t k, float* distances, int64_t* ids,
            const void* parameters) {
    if (k <= 0) throw std::invalid_argument("k is " + std::to_string(k) + ", expected at least 1");
    with_database(self, parameters, [&](const Database& database) {
        knn_search(database, size_t(n), x, size_t(k), distances, ids, executor());
    });
}

void range_search(const void* self, int64_t n, const float* x, float radius, void* result,
                  const void* parameters) {
    const auto found = with_database(self, parameters, [&](const Database& database) {
        return drq::range_search(database, size_t(n), x, radius, executor());
    });
    // RangeSearchResult: counts go into lims, do_allocation turns them into offsets and makes room.
    const auto lims = field<size_t*>(result, layout().range_lims);
    for (size_t i = 0; i < found.size(); i++) lims[i] = found[i].size();
    call_virtual<void>(result, flat->do_allocation);
    const auto labels = field<int64_t*>(result, layout().range_labels);
    const auto distances = field<float*>(result, layout().range_distances);
    for (size_t i = 0; i < found.size(); i++)
        for (size_t j = 0; j < found[i].size(); j++) {
            labels[lims[i] + j] = found[i][j].id;
            distances[lims[i] + j] = found[i][j].distance;
        }
}

/// A vector that is not finite would get an arbitrary code and turn up in results.
void require_finite(const IndexView& view, int64_t n, const float* x) {
    for (size_t i = 0; i < size_t(n) * view.d; i++)
        if (!std::isfinite(x[i]))
            throw std::invalid_argument("vector " + std::to_string(i / view.d) + " holds " +
                                        std::to_string(x[i]) + ", expected finite values");
}

/// Also what add() encodes with, which the library calls through the virtual table.
void sa_encode(const void* self, int64_t n, const float* x, uint8_t* packed) {
    const IndexView view = searchable_view(self);
    require_finite(view, n, x);
    const std::shared_ptr<const Encoder> encoder = state_of(self)->encoder(view);
    constexpr size_t kBatch = 65536;  // bounds the unpacked codes
    std::vector<int32_t> codes(std::min(size_t(n), kBatch) * encoder->quantizer().levels());
    for (size_t begin = 0; begin < size_t(n); begin += kBatch) {
        const size_t count = std::min(kBatch, size_t(n) - begin);
        encoder->encode(count, x + begin * view.d, view.max_beam_size, codes.data(), executor());
        // FAISS's packing appends the norm that some search types store.
        constexpr int64_t kDense = -1;
        flat->pack_codes(static_cast<const char*>(self) + layout().rq, count, codes.data(),
                         packed + begin * view.codes.code_size, kDense, nullptr, nullptr);
    }
}

/// For graphs and refinement over the index. The library's own has none for norms from tables and throws,
/// even inside its threads, which ends the process.
void* get_FlatCodesDistanceComputer(const void* self) {
    const IndexView view = view_of(self);
    const bool missing = view.search_type == kNormFromLut && metric_of(view.metric_type) == Metric::L2;
    return missing ? flat->get_decoding_distance_computer(self) : flat->get_FlatCodesDistanceComputer(self);
}

void write_codebooks(void* self, std::vector<float> values) {
    void* rq = &field<char>(self, layout().rq);
    const auto& offsets = field<std::vector<uint64_t>>(rq, layout().rq_codebook_offsets);
    const size_t expected = offsets.back() * field<size_t>(rq, layout().rq_d);
    if (values.size() != expected)
        throw std::runtime_error("training returned " + std::to_string(values.size()) +
                                 " floats of codebooks, " + "expected " + std::to_string(expected));
    field<std::vector<float>>(rq, layout().rq_codebooks) = std::move(values);
    flat->compute_codebook_tables(rq);
    field<bool>(rq, layout().rq_is_trained) = true;
    field<bool>(self, layout().is_trained) = true;
}

void train(void* self, int64_t n, const float* x) {
    const std::shared_ptr<IndexState> state = state_of(self);
    const std::string options = state->training();
    if (options.empty()) {
        flat->train(self, n, x);
    } else {
        const IndexView view = view_of(self);
        // Only FAISS's own training fits the table that stored norms are quantized with.
        if (view.norm_bits)
            throw std::invalid_argument("the search type stores a norm of " + std::to_string(view.norm_bits) +
                                        " bits, expected one without stored norms (ST_norm_from_LUT)");
        write_codebooks(self, trainer()({size_t(n), view.d, x, view.codebooks.nbits, options}));
    }
    state->forget();
}

/// The view of an index whose codes are about to change. The library ends the process if they are in a mapped
/// file.
IndexView changeable_view(const void* index) {
    const IndexView view = view_of(index);
    if (!view.codes_owned)
        throw std::runtime_error("the codes are in a mapped file, expected an index read into memory");
    return view;
}

/// Runs a library function that only appends codes to the index.
template <class Append>
void append(void* self, const Append& stock) {
    const std::shared_ptr<IndexState> state = state_of(self);
    state->before_change(changeable_view(self));
    stock();
    state->after_append(view_of(self));
}

void add(void* self, int64_t n, const float* x) {
    require_finite(view_of(self), n, x);
    append(self, [&] { flat->add(self, n, x); });
}

void add_sa_codes(void* self, int64_t n, const uint8_t* codes, const int64_t* ids) {
    append(self, [&] { flat->add_sa_codes(self, n, codes, ids); });
}

/// FAISS compares no more than the size of a code: vectors would come out of other codebooks.
void require_same_codes(const void* self, const void* other) {
    if (self == other) throw std::invalid_argument("cannot merge an index with itself");
    const IndexView ours = view_of(self), theirs = changeable_view(other);
    const auto refuse = [](const char* what) {
        throw std::invalid_argument(std::string("cannot merge: the other index has ") + what);
    };
    if (ours.metric_type != theirs.metric_type) refuse("another metric");
    if (ours.d != theirs.d) refuse("another number of dimensions");
    if (ours.codebooks.nbits != theirs.codebooks.nbits) refuse("other levels or bits per level");
    if (!ours.is_trained || !theirs.is_trained)
        throw std::invalid_argument("cannot merge: one of the indexes is not trained");
    if (!std::equal(ours.codebooks.level[0], ours.codebooks.level[0] + ours.codebooks_size,
                    theirs.codebooks.level[0]))
        refuse("other codebooks: train one index and copy it, or give both the same codebooks");
}

void merge_from(void* self, void* other, int64_t add_id) {
    if (is_residual_quantizer(other)) require_same_codes(self, other);
    append(self, [&] { flat->merge_from(self, other, add_id); });
    if (const std::shared_ptr<IndexState> emptied = find_state(other)) emptied->forget_norms();
}

size_t remove_ids(void* self, const void* selector) {
    const IndexView view = changeable_view(self);
    const std::shared_ptr<IndexState> state = state_of(self);
    state->before_change(view);
    std::vector<bool> kept(view.ntotal);
    for (size_t i = 0; i < kept.size(); i++) kept[i] = !is_member(selector, int64_t(i));
    const size_t removed = flat->remove_ids(self, selector);
    state->after_remove(view_of(self), kept);
    return removed;
}

void reset(void* self) {
    changeable_view(self);
    state_of(self)->forget_norms();
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

FlatClass::FlatClass(const void* index) : library(index, kClass), vtable(library, kClass) {
    is_member =
        Vtable(library, "_ZTVN5faiss15IDSelectorRangeE").slot("_ZNK5faiss15IDSelectorRange9is_memberEl");
    do_allocation = Vtable(library, "_ZTVN5faiss17RangeSearchResultE")
                        .slot("_ZN5faiss17RangeSearchResult13do_allocationEv");
    compute_codebook_tables = reinterpret_cast<void (*)(void*)>(
        library.symbol("_ZN5faiss17AdditiveQuantizer23compute_codebook_tablesEv"));

    pack_codes = reinterpret_cast<decltype(pack_codes)>(
        library.symbol("_ZNK5faiss17AdditiveQuantizer10pack_codesEmPKiPhlPKfS5_"));

    // Each returns the library's own function, which ours may call.
    const auto replace_slot = [&](const char* name, size_t slot, auto ours) {
        vtable.replace(slot, reinterpret_cast<const void*>(ours));
        replaced[name] = slot;
        return reinterpret_cast<decltype(ours)>(const_cast<void*>(vtable.stock(slot)));
    };
    const auto replace = [&](const char* name, const char* symbol, auto ours) {
        return replace_slot(name, vtable.slot(symbol), ours);
    };
    replace("search", "_ZNK5faiss22IndexAdditiveQuantizer6searchElPKflPfPlPKNS_16SearchParametersE",
            plugin::search);
    replace("range_search",
            "_ZNK5faiss14IndexFlatCodes12range_searchElPKffPNS_17RangeSearchResultEPKNS_16SearchParametersE",
            plugin::range_search);
    replace("sa_encode", "_ZNK5faiss22IndexAdditiveQuantizer9sa_encodeElPKfPh", plugin::sa_encode);
    get_FlatCodesDistanceComputer =
        replace("get_FlatCodesDistanceComputer",
                "_ZNK5faiss22IndexAdditiveQuantizer29get_FlatCodesDistanceComputerEv",
                plugin::get_FlatCodesDistanceComputer);
    get_decoding_distance_computer = reinterpret_cast<void* (*)(const void*)>(
        library.symbol("_ZNK5faiss14IndexFlatCodes29get_FlatCodesDistanceComputerEv"));
    train = replace("train", "_ZN5faiss22IndexResidualQuantizer5trainElPKf", plugin::train);
    add = replace("add", "_ZN5faiss14IndexFlatCodes3addElPKf", plugin::add);
    add_sa_codes =
        replace("add_sa_codes", "_ZN5faiss14IndexFlatCodes12add_sa_codesElPKhPKl", plugin::add_sa_codes);
    remove_ids =
        replace("remove_ids", "_ZN5faiss14IndexFlatCodes10remove_idsERKNS_10IDSelectorE", plugin::remove_ids);
    reset = replace("reset", "_ZN5faiss14IndexFlatCodes5resetEv", plugin::reset);
    merge_from =
        replace("merge_from", "_ZN5faiss14IndexFlatCodes10merge_fromERNS_5IndexEl", plugin::merge_from);

    // The destructors are not exported. They are declared first, so the table starts with the pair of them.
    constexpr size_t kDestructors = 2;
    if (replaced["train"] != kDestructors)
        throw std::runtime_error("train is in slot " + std::to_string(replaced["train"]) + " of " + kClass +
                                 ", expected " + std::to_string(kDestructors) + ", after the destructors");
    destroy = replace_slot("destroy", 0, plugin::destroy);
    destroy_and_free = replace_slot("destroy_and_free", 1, plugin::destroy_and_free);
}

}  // namespace

void open_flat_class(const void* index) {
    if (!flat)
        flat = new FlatClass(index);  // never freed: indexes may be destroyed after static destructors ran
}

const Library& library() { return flat->library; }

std::map<std::string, size_t> flat_slots() {
    std::map<std::string, size_t> slots = flat->replaced;
    slots["IDSelector.is_member"] = flat->is_member;
    slots["RangeSearchResult.do_allocation"] = flat->do_allocation;
    return slots;
}

bool is_adopted(const void* index) { return flat && field<const void*>(index, 0) == flat->vtable.pointer(); }

std::string why_not(const void* index) {
    if (!is_residual_quantizer(index)) return "its class is not exactly faiss::IndexResidualQuantizer";
    return unsupported(view_of(index));
}

void adopt(void* index) {
    if (is_adopted(index)) {
        state_of(index)->forget();
        return;
    }
    if (const std::string reason = why_not(index); !reason.empty())
        throw std::invalid_argument("cannot adopt this index: " + reason);
    create_state(index);
    field<const void*>(index, 0) = flat->vtable.pointer();
}

void set_trainer(Trainer next) { trainer() = std::move(next); }

}  // namespace drq::plugin
