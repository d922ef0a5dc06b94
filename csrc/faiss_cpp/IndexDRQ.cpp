#include "drqfaiss/IndexDRQ.h"

#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/FaissAssert.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/index_io.h>
#include <omp.h>

#include <algorithm>
#include <vector>

#include "core/search/flat.h"
#include "core/search/two_stage.h"
#include "index/codec_io.h"
#include "index/flat_state.h"
#include "index/view.h"

namespace drqfaiss {

namespace {

using drq::FlatState;
using drq::FlatView;

/// The threads FAISS uses as well.
class OpenMP final : public drq::Executor {
  public:
    int threads() const override { return omp_get_max_threads(); }
    void run(void (*body)(void*), void (*)(void*), void* context) const override {
#pragma omp parallel
        body(context);
    }
};

const OpenMP openmp;

drq::Codebooks codebooks_of(const faiss::ResidualQuantizer& rq) {
    drq::Codebooks codebooks{rq.d, {rq.nbits.begin(), rq.nbits.end()}, {}};
    if (rq.codebooks.size() != rq.total_codebook_size * rq.d) return codebooks;
    for (size_t m = 0; m < rq.M; m++)
        codebooks.level.push_back(rq.codebooks.data() + rq.codebook_offsets[m] * rq.d);
    return codebooks;
}

FlatView view_of(const faiss::IndexResidualQuantizer& index) {
    FlatView view;
    view.d = size_t(index.d);
    view.ntotal = size_t(index.ntotal);
    view.metric_type = index.metric_type;
    view.codes = {index.codes.data(), view.ntotal, index.code_size};
    view.codes_size = index.codes.size();
    view.codebooks = codebooks_of(index.rq);
    view.codebooks_size = index.rq.codebooks.size();
    view.is_trained = index.is_trained && !view.codebooks.level.empty();
    view.search_type = index.rq.search_type;
    view.max_beam_size = index.rq.max_beam_size;
    view.norm_bits = index.rq.norm_bits;
    return view;
}

FlatView trained_view(const IndexDRQ& index) {
    FlatView view = view_of(index);
    FAISS_THROW_IF_NOT_MSG(view.is_trained, "the index is not trained");
    return view;
}

drq::Depth checked_depth(const IndexDRQ& index, const faiss::SearchParameters* parameters) {
    const auto* own = dynamic_cast<const SearchParametersDRQ*>(parameters);
    const drq::Depth usual{index.levels, index.refine_levels, index.refine_factor};
    const drq::Depth asked =
        own ? drq::Depth{own->levels, own->refine_levels, own->refine_factor} : drq::Depth();
    try {
        return asked.or_else(usual).checked(index.rq.M);
    } catch (const std::invalid_argument& error) {
        FAISS_THROW_MSG(error.what());
    }
}

bool is_member(const void* selector, int64_t id) {
    return static_cast<const faiss::IDSelector*>(selector)->is_member(id);
}

/// Calls search(database), for n queries, with the index's codes, norms and selector in place.
template <class Search>
auto with_database(const IndexDRQ& index, FlatState& state, int64_t n,
                   const faiss::SearchParameters* parameters, const Search& search) {
    const drq::Version version = state.version();
    FlatView view = trained_view(index);
    view.version = version;
    const drq::Depth depth = checked_depth(index, parameters);
    const drq::Prepared prepared = state.prepare(view, depth.levels, size_t(n), openmp);
    const drq::Selector selector{is_member, parameters ? parameters->sel : nullptr};
    return search(prepared.database(view, depth.levels, selector.self ? &selector : nullptr), depth);
}

void require_supported(const faiss::IndexResidualQuantizer& index) {
    const std::string reason = drq::unsupported(view_of(index));
    FAISS_THROW_IF_NOT_FMT(reason.empty(), "cannot search this index: %s", reason.c_str());
}

}  // namespace

IndexDRQ::IndexDRQ(int d, size_t M, size_t nbits, faiss::MetricType metric)
    : IndexResidualQuantizer(d, M, nbits, metric, faiss::AdditiveQuantizer::ST_decompress),
      state_(std::make_unique<FlatState>()) {
    require_supported(*this);
}

IndexDRQ::IndexDRQ(const faiss::IndexResidualQuantizer& stock)
    : IndexResidualQuantizer(stock), state_(std::make_unique<FlatState>()) {
    aq = &rq;  // the copied pointer is to the other index's quantizer
    // Python's files say ST_norm_from_LUT, for which FAISS has no distance computer and old versions no
    // search.
    if (rq.search_type == faiss::AdditiveQuantizer::ST_norm_from_LUT)
        rq.search_type = faiss::AdditiveQuantizer::ST_decompress;
    require_supported(*this);
}

IndexDRQ::IndexDRQ(const IndexDRQ& other) : IndexDRQ(static_cast<const IndexResidualQuantizer&>(other)) {
    levels = other.levels;
    refine_levels = other.refine_levels;
    refine_factor = other.refine_factor;
}

IndexDRQ::~IndexDRQ() = default;

void IndexDRQ::train(int64_t n, const float* x) {
    IndexResidualQuantizer::train(n, x);
    state_->forget();
}

void IndexDRQ::add(int64_t n, const float* x) {
    drq::Change change(*state_);
    state_->before_change(view_of(*this));
    IndexResidualQuantizer::add(n, x);
    state_->after_append(view_of(*this), change);
}

size_t IndexDRQ::remove_ids(const faiss::IDSelector& selector) {
    drq::Change change(*state_);
    state_->before_change(view_of(*this));
    const std::vector<uint8_t> removed =
        drq::bitmap_of(size_t(ntotal), [&](int64_t id) { return selector.is_member(id); });
    const size_t left = drq::remove_rows(codes.data(), size_t(ntotal), code_size, removed);
    const size_t count = IndexResidualQuantizer::remove_ids(faiss::IDSelectorRange(int64_t(left), ntotal));
    state_->after_remove(view_of(*this), removed, change);
    return count;
}

void IndexDRQ::reset() {
    const drq::Change change(*state_);
    IndexResidualQuantizer::reset();
}

void IndexDRQ::permute_entries(const int64_t* perm) {
    const std::vector<uint8_t> before(codes.data(), codes.data() + size_t(ntotal) * code_size);
    for (size_t i = 0; i < size_t(ntotal); i++)
        std::copy_n(before.data() + size_t(perm[i]) * code_size, code_size, codes.data() + i * code_size);
    forget();
}

void IndexDRQ::forget() { state_->forget(); }

void IndexDRQ::check_compatible_for_merge(const faiss::Index& other) const {
    IndexResidualQuantizer::check_compatible_for_merge(other);
    const auto& theirs = dynamic_cast<const IndexResidualQuantizer&>(other);
    FAISS_THROW_IF_NOT_MSG(rq.nbits == theirs.rq.nbits && rq.codebooks == theirs.rq.codebooks,
                           "cannot merge: the other index has other codebooks");
}

void IndexDRQ::search(int64_t n, const float* x, int64_t k, float* distances, int64_t* ids,
                      const faiss::SearchParameters* parameters) const {
    FAISS_THROW_IF_NOT_FMT(k > 0, "k is %zd, expected at least 1", size_t(k));
    with_database(*this, *state_, n, parameters, [&](const drq::Database& database, const drq::Depth& depth) {
        drq::two_stage_search(database, {depth.refine_levels, depth.refine_factor}, size_t(n), x, size_t(k),
                              distances, ids, openmp);
    });
}

void IndexDRQ::range_search(int64_t n, const float* x, float radius, faiss::RangeSearchResult* result,
                            const faiss::SearchParameters* parameters) const {
    const auto found =
        with_database(*this, *state_, n, parameters, [&](const drq::Database& database, const drq::Depth&) {
            return drq::range_search(database, size_t(n), x, radius, openmp);
        });
    drq::write_ranges(found, result->lims, [&] {
        result->do_allocation();
        return std::pair(result->labels, result->distances);
    });
}

void IndexDRQ::sa_encode(int64_t n, const float* x, uint8_t* packed) const {
    const FlatView view = trained_view(*this);
    const std::string reason = drq::not_finite(size_t(n), view.d, x);
    FAISS_THROW_IF_NOT_FMT(reason.empty(), "%s", reason.c_str());
    drq::encode_in_batches(*state_->encoder(view), size_t(n), x, rq.max_beam_size, openmp,
                           [&](size_t begin, size_t count, const int32_t* codes) {
                               rq.pack_codes(count, codes, packed + begin * code_size);
                           });
}

std::unique_ptr<IndexDRQ> read_index(const char* path) {
    const std::unique_ptr<faiss::Index> index(faiss::read_index(path));
    auto* stock = dynamic_cast<faiss::IndexResidualQuantizer*>(index.get());
    FAISS_THROW_IF_NOT_FMT(stock, "%s holds no residual quantizer index", path);
    auto codes = std::move(stock->codes);  // not copied: there may be many
    auto result = std::make_unique<IndexDRQ>(*stock);
    result->codes = std::move(codes);
    return result;
}

}  // namespace drqfaiss
