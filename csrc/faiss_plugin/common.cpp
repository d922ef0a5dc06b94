#include "faiss_plugin/common.h"

#include <algorithm>
#include <stdexcept>

#include "faiss_abi/openmp.h"
#include "faiss_plugin/parameters.h"
#include "index/codec_io.h"

namespace drq::plugin {

namespace {

struct Functions {
    size_t is_member, do_allocation;  ///< slots of IDSelector and RangeSearchResult
    void (*compute_codebook_tables)(void* rq);
    void (*pack_codes)(const void* rq, size_t n, const int32_t* codes, uint8_t* packed, int64_t ld_codes,
                       const float* norms, const float* centroids);
};

Functions faiss;

Trainer& trainer() {
    static Trainer& instance =
        *new Trainer;  // may hold a Python object, which must not outlive the interpreter
    return instance;
}

/// Tables of products are what plain FAISS takes norms from; where it does without, they may take gigabytes.
void write_codebooks(void* rq, std::vector<float> values) {
    const auto& offsets = field<std::vector<uint64_t>>(rq, layout().rq_codebook_offsets);
    const size_t expected = offsets.empty() ? 0 : offsets.back() * field<size_t>(rq, layout().rq_d);
    if (values.size() != expected)
        throw std::runtime_error("training returned " + std::to_string(values.size()) +
                                 " floats of codebooks, " + "expected " + std::to_string(expected));
    field<std::vector<float>>(rq, layout().rq_codebooks) = std::move(values);
    if (field<int>(rq, layout().rq_search_type) == kNormFromLut) faiss.compute_codebook_tables(rq);
    field<bool>(rq, layout().rq_is_trained) = true;
}

}  // namespace

void open_additive(const Library& library) {
    faiss.is_member =
        Vtable(library, "_ZTVN5faiss15IDSelectorRangeE").slot("_ZNK5faiss15IDSelectorRange9is_memberEl");
    faiss.do_allocation = Vtable(library, "_ZTVN5faiss17RangeSearchResultE")
                              .slot("_ZN5faiss17RangeSearchResult13do_allocationEv");
    library.find("_ZN5faiss17AdditiveQuantizer23compute_codebook_tablesEv", faiss.compute_codebook_tables);
    library.find("_ZNK5faiss17AdditiveQuantizer10pack_codesEmPKiPhlPKfS5_", faiss.pack_codes);
}

std::map<std::string, size_t> additive_slots() {
    return {{"IDSelector.is_member", faiss.is_member},
            {"RangeSearchResult.do_allocation", faiss.do_allocation}};
}

Depth checked_depth(const IndexState& state, const QuantizerView& view, const void* parameters) {
    return parameter_depth(parameters)
        .or_else(state.depth())
        .checked(view.codebooks.nbits.size(), view.tail_levels);
}

const void* selector_of(const void* parameters) {
    return parameters ? field<const void*>(parameters, layout().params_sel) : nullptr;
}

bool is_member(const void* selector, int64_t id) { return call_virtual<bool>(selector, faiss.is_member, id); }

void require_finite(const IndexView& view, int64_t n, const float* x) {
    if (const std::string reason = not_finite(size_t(n), view.d, x); !reason.empty())
        throw std::invalid_argument(reason);
}

void encode(IndexState& state, const IndexView& view, const void* rq, size_t code_size, int64_t n,
            const float* x, uint8_t* packed, const CodesSink& also) {
    require_finite(view, n, x);
    encode_in_batches(*state.encoder(view), size_t(n), x, view.max_beam_size, executor(),
                      [&](size_t begin, size_t count, const int32_t* codes) {
                          // FAISS's packing appends the norm that some search types store.
                          faiss.pack_codes(rq, count, codes, packed + begin * code_size,
                                           int64_t(view.codebooks.nbits.size()), nullptr, nullptr);
                          if (also) also(begin, count, codes);
                      });
}

void write_range_result(void* result, const std::vector<std::vector<Neighbour>>& found) {
    write_ranges(found, field<size_t*>(result, layout().range_lims), [&] {
        call_virtual<void>(result, faiss.do_allocation);
        return std::pair(field<int64_t*>(result, layout().range_labels),
                         field<float*>(result, layout().range_distances));
    });
}

void require_same_quantizer(const IndexView& ours, const IndexView& theirs) {
    const auto refuse = [](const char* what) {
        throw std::invalid_argument(std::string("cannot merge: the other index has ") + what);
    };
    if (ours.metric_type != theirs.metric_type) refuse("another metric");
    if (ours.d != theirs.d) refuse("another number of dimensions");
    if (ours.codebooks.nbits != theirs.codebooks.nbits) refuse("other levels or bits per level");
    if (!ours.is_trained || !theirs.is_trained)
        throw std::invalid_argument("cannot merge: one of the indexes is not trained");
    for (const IndexView* view : {&ours, &theirs})
        if (!view->misfit.empty()) throw std::invalid_argument("cannot merge: " + view->misfit);
    if (!std::equal(ours.codebooks.level[0], ours.codebooks.level[0] + ours.codebooks_size,
                    theirs.codebooks.level[0]))
        refuse("other codebooks: train one index and copy it, or give both the same codebooks");
}

void set_trainer(Trainer next) { trainer() = std::move(next); }

void train_quantizer(const IndexState& state, const IndexView& view, void* rq, int64_t n, const float* x) {
    if (view.codebooks_size == 0 && !view.misfit.empty()) throw std::invalid_argument(view.misfit);
    // Only FAISS's own training fits the table that stored norms are quantized with.
    if (view.norm_bits)
        throw std::invalid_argument("the search type stores a norm of " + std::to_string(view.norm_bits) +
                                    " bits, expected one without stored norms (ST_norm_from_LUT)");
    write_codebooks(rq, trainer()({size_t(n), view.d, x, view.codebooks.nbits, state.training()}));
}

}  // namespace drq::plugin
