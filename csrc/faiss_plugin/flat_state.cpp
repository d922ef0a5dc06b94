#include "faiss_plugin/flat_state.h"

#include <algorithm>
#include <stdexcept>

#include "core/simd/kernels.h"

namespace drq::plugin {

namespace {

constexpr size_t kSampledCodes = 32;
constexpr size_t kRenumberingWork = 1 << 22;  // distances that take as long as renumbering a codebook

}  // namespace

Database Prepared::database(const FlatView& view, size_t levels, const Selector* selector) const {
    return {*quantizer,
            view.codes,
            levels,
            metric_of(view.metric_type),
            norms ? Norms{norms->values.data(), norms->lowest} : Norms{},
            selector,
            renumbered.get(),
            planes.get()};
}

Prepared FlatState::prepare(const FlatView& view, size_t levels, size_t n, const Executor& executor) {
    std::lock_guard lock(mutex_);
    check_codebooks(view);
    check_codes(view);
    std::shared_ptr<CachedNorms> norms;
    if (metric_of(view.metric_type) == Metric::L2) {
        extend(norms_[levels], view, levels, executor);
        norms = norms_[levels];
    }
    if (renumbering_pays(simd::active(), *quantizer_, n) &&
        n * view.ntotal >= kRenumberingWork * quantizer_->bases.size())
        renumber();
    if (packed_) extend_planes(view);
    if (norms || planes_) codes_ = mark_codes(view, view.ntotal);
    return {quantizer_, std::move(norms), renumbered_, planes_};
}

void FlatState::pack(const FlatView& view) {
    std::lock_guard lock(mutex_);
    check_codebooks(view);
    if (quantizer_->max_nbits() > 8)
        throw std::invalid_argument("levels have up to " + std::to_string(quantizer_->max_nbits()) +
                                    " bits, expected at most 8");
    check_codes(view);
    packed_ = true;
    extend_planes(view);
    codes_ = mark_codes(view, view.ntotal);
}

void FlatState::unpack() {
    std::lock_guard lock(mutex_);
    packed_ = false;
    planes_.reset();
}

bool FlatState::is_packed() const {
    std::lock_guard lock(mutex_);
    return packed_;
}

size_t FlatState::plane_bytes() const {
    std::lock_guard lock(mutex_);
    return planes_ ? planes_->bytes() : 0;
}

void FlatState::renumber() {
    if (!renumbered_) renumbered_ = std::make_shared<const Renumbered>(*quantizer_);
}

void FlatState::extend_planes(const FlatView& view) {
    const simd::Kernels& kernels = simd::active();
    if (kernels.bounds_pay && quantizer_->all_levels_have(8)) renumber();
    if (!planes_) planes_ = std::make_shared<const Planes>(quantizer_, renumbered_, kernels);
    if (planes_->size() != view.ntotal)
        planes_ = std::make_shared<const Planes>(planes_->extended(view.codes));
}

void FlatState::before_change(const FlatView& view) {
    std::lock_guard lock(mutex_);
    check_codes(view);
}

void FlatState::after_append(const FlatView& view) {
    std::lock_guard lock(mutex_);
    codes_.data = view.codes.data;  // growing moves the codes
}

void FlatState::after_remove(const FlatView& view, const std::vector<bool>& kept) {
    std::lock_guard lock(mutex_);
    for (auto& [levels, norms] : norms_) {
        if (!norms) continue;
        auto left = std::make_shared<CachedNorms>();
        left->lowest = norms->lowest;
        for (size_t i = 0; i < norms->values.size(); i++)
            if (kept[i]) left->values.push_back(norms->values[i]);
        norms = std::move(left);
    }
    planes_.reset();  // to be filled anew: that is faster than moving bytes up in every plane
    if (!norms_.empty())
        codes_ =
            mark_codes(view, size_t(std::count(kept.begin(), kept.begin() + ptrdiff_t(codes_.rows), true)));
}

void FlatState::forget_codes() {
    std::lock_guard lock(mutex_);
    norms_.clear();
    planes_.reset();
    codes_ = {};
}

void FlatState::drop_caches() {
    norms_.clear();
    planes_.reset();
    renumbered_.reset();
}

std::map<size_t, size_t> FlatState::cached_norms() const {
    std::lock_guard lock(mutex_);
    std::map<size_t, size_t> rows;
    for (const auto& [levels, norms] : norms_)
        if (norms) rows[levels] = norms->values.size();
    return rows;
}

FlatState::CodesMark FlatState::mark_codes(const FlatView& view, size_t rows) {
    const size_t size = view.codes.code_size;
    return {view.codes.data, rows, size, sample_of(view.codes.data, size, rows, kSampledCodes)};
}

/// Drops norms and planes unless the codes they were made from are still the first ones of the index.
void FlatState::check_codes(const FlatView& view) {
    if (norms_.empty() && !planes_) return;
    const bool shorter = view.ntotal < codes_.rows || view.codes_size < codes_.rows * view.codes.code_size;
    const bool same = !shorter && view.codes.data == codes_.data &&
                      view.codes.code_size == codes_.code_size &&
                      mark_codes(view, codes_.rows).sample == codes_.sample;
    if (same) return;
    norms_.clear();
    planes_.reset();
}

/// Adds the norms of the vectors appended since. Norms that a running search still reads are copied first.
void FlatState::extend(std::shared_ptr<CachedNorms>& norms, const FlatView& view, size_t levels,
                       const Executor& executor) const {
    if (!norms) norms = std::make_shared<CachedNorms>();
    const size_t have = norms->values.size();
    if (have == view.ntotal) return;
    std::vector<float> added(view.ntotal - have);
    reconstruction_norms(*quantizer_, view.codes, levels, have, view.ntotal, added.data(), executor);
    const float lowest = *std::min_element(added.begin(), added.end());
    if (norms.use_count() > 1) norms = std::make_shared<CachedNorms>(*norms);
    std::atomic_thread_fence(std::memory_order_acquire);  // what the last other reader did is done
    norms->lowest = have ? std::min(norms->lowest, lowest) : lowest;
    norms->values.insert(norms->values.end(), added.begin(), added.end());
}

}  // namespace drq::plugin
