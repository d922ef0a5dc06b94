#include "index/flat_state.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "core/isa/kernels.h"
#include "core/search/norms.h"

namespace drq {

namespace {

constexpr size_t kSampledCodes = 32;

/// How many of the first n bits are set.
size_t count_set(const std::vector<uint8_t>& bits, size_t n) {
    size_t count = 0;
    for (size_t b = 0; b < n / 8; b++) count += size_t(__builtin_popcount(bits[b]));
    if (n % 8) count += size_t(__builtin_popcount(bits[n / 8] & ((1 << n % 8) - 1)));
    return count;
}

/// Norms to change: a copy if a running search still reads them.
CachedNorms& writable(std::shared_ptr<CachedNorms>& norms) {
    if (norms.use_count() > 1) norms = std::make_shared<CachedNorms>(*norms);
    std::atomic_thread_fence(std::memory_order_acquire);  // what the last other reader did is done
    return *norms;
}

void append(CachedNorms& norms, const std::vector<float>& added) {
    const float lowest = *std::min_element(added.begin(), added.end());
    norms.lowest = norms.values.empty() ? lowest : std::min(norms.lowest, lowest);
    make_room(norms.values, norms.values.size() + added.size());
    norms.values.insert(norms.values.end(), added.begin(), added.end());
}

void remove_norms(std::vector<float>& norms, const std::vector<uint8_t>& removed) {
    norms.resize(remove_rows(norms.data(), norms.size(), sizeof(float), removed));
    release_unused(norms);
}

}  // namespace

size_t remove_rows(void* rows, size_t n, size_t size, const std::vector<uint8_t>& removed) {
    const auto* from = static_cast<const uint8_t*>(rows);
    auto* to = static_cast<uint8_t*>(rows);
    const auto keep = [&](size_t count) {
        std::memmove(to, from, count * size);
        to += count * size;
    };
    for (size_t i = 0; i < n; i += 8) {
        const size_t count = std::min<size_t>(8, n - i);
        if (removed[i / 8] == 0) {
            keep(count);
            from += count * size;
        } else {
            for (size_t bit = 0; bit < count; bit++, from += size)
                if (!(removed[i / 8] >> bit & 1)) keep(1);
        }
    }
    return size_t(to - static_cast<uint8_t*>(rows)) / size;
}

Database Prepared::database(const FlatView& view, size_t levels, const Selector* selector) const {
    return {*quantizer,
            view.codes,
            levels,
            metric_of(view.metric_type),
            norms ? Norms{norms->values.data(), norms->lowest} : Norms{},
            selector,
            renumbered.get(),
            planes.get(),
            isa::active(),
            tail ? &rows : nullptr};
}

Prepared FlatState::prepare(const FlatView& view, size_t levels, size_t n, const Executor& executor) {
    std::unique_lock lock(mutex_);
    check_codebooks(view, n * view.ntotal * view.codes.code_size);
    if (is_current(view)) check_codes(view);
    Prepared prepared{quantizer_, nullptr, nullptr, nullptr, tail_};
    if (tail_) prepared.rows = tail_->rows(view.codebooks.nbits.size() - view.tail_levels);
    if (metric_of(view.metric_type) == Metric::L2)
        add_norms(prepared, view, levels, UnlockingExecutor(executor, lock));
    if (prepared.quantizer != quantizer_) return prepared;
    if (is_current(view)) {
        if (renumbering_pays(isa::active(), *quantizer_, n) &&
            n * view.ntotal >= renumbering_work(*quantizer_))
            renumber();
        if (packed_) extend_planes(view);
        if (prepared.norms || planes_) remember_codes(view);
        prepared.planes = planes_;
    }
    prepared.renumbered = renumbered_;
    return prepared;
}

void FlatState::pack(const FlatView& view, size_t levels) {
    std::lock_guard lock(mutex_);
    const size_t hot = view.codebooks.nbits.size() - view.tail_levels;
    if (levels > hot) throw std::invalid_argument(mismatch("levels", levels, hot) + " at most");
    check_codebooks(view);
    const size_t packed = levels ? levels : hot;
    const int widest = quantizer_->max_nbits(packed);
    if (widest > 8 && !can_renumber(*quantizer_))
        throw std::invalid_argument("levels have up to " + std::to_string(widest) +
                                    " bits, expected at most 8, or all levels of one width up to 11");
    packed_ = packed;
    if (planes_ && planes_->levels() != packed_) planes_.reset();
    if (!is_current(view)) return;  // the next search packs
    check_codes(view);
    extend_planes(view);
    remember_codes(view);
}

void FlatState::unpack() {
    std::lock_guard lock(mutex_);
    packed_ = 0;
    planes_.reset();
}

size_t FlatState::packed_levels() const { return packed_; }

std::shared_ptr<IndexState> FlatState::anew() const {
    auto state = std::make_shared<FlatState>();
    state->packed_ = packed_.load();
    state->tail_ = tail_;
    return state;
}

void FlatState::set_tail(const StoredTail& tail) {
    auto copy = std::make_shared<StoredTail>(tail);
    std::lock_guard lock(mutex_);
    drop_caches();
    tail_ = std::move(copy);
}

std::shared_ptr<const StoredTail> FlatState::tail() const {
    std::lock_guard lock(mutex_);
    return tail_;
}

void FlatState::add_tail(FlatView& view) const {
    std::lock_guard lock(mutex_);
    if (tail_) tail_->extend(view);
}

void FlatState::append_to_tail(size_t at, size_t n, const uint8_t* rows) {
    std::lock_guard lock(mutex_);
    if (tail_.use_count() > 1) tail_ = std::make_shared<StoredTail>(*tail_);
    tail_->append(at, n, rows);
}

size_t FlatState::plane_bytes() const {
    std::lock_guard lock(mutex_);
    return planes_ ? planes_->bytes() : 0;
}

void FlatState::renumber() {
    if (!renumbered_) renumbered_ = std::make_shared<const Renumbered>(*quantizer_);
}

void FlatState::extend_planes(const FlatView& view) {
    const isa::Kernels& kernels = isa::active();
    const int widest = quantizer_->max_nbits(quantizer_->levels());
    if (can_renumber(*quantizer_) && (kernels.bounds_pay || widest > 8)) renumber();
    if (!planes_) planes_ = std::make_shared<const Planes>(quantizer_, packed_, renumbered_, kernels);
    if (planes_->size() != view.ntotal)
        planes_ = std::make_shared<const Planes>(planes_->extended(view.codes));
}

void FlatState::before_change(const FlatView& view) {
    std::lock_guard lock(mutex_);
    check_codes(view);
}

void FlatState::after_append(const FlatView& view, Change& change) {
    std::lock_guard lock(mutex_);
    if (!change.keep_caches()) return;
    codes_.data = view.codes.data;  // growing moves the codes
}

void FlatState::after_remove(const FlatView& view, const std::vector<uint8_t>& removed, Change& change) {
    std::lock_guard lock(mutex_);
    if (!change.keep_caches()) return;
    for (auto& [levels, norms] : norms_)
        if (norms) remove_norms(writable(norms).values, removed);
    codes_fingerprint_.clear();
    planes_.reset();  // to be filled anew: that is faster than moving bytes up in every plane
    if (!norms_.empty()) codes_ = mark_codes(view, codes_.rows - count_set(removed, codes_.rows));
}

void FlatState::drop_codes_caches() {
    norms_.clear();
    planes_.reset();
    codes_ = {};
    codes_fingerprint_.clear();
}

void FlatState::drop_caches() {
    drop_codes_caches();
    renumbered_.reset();
}

std::map<size_t, NormCount> FlatState::cached_norms() const {
    std::lock_guard lock(mutex_);
    std::map<size_t, NormCount> counts;
    for (const auto& [levels, norms] : norms_)
        if (norms) count_norms(norms->values, counts[levels]);
    return counts;
}

FlatState::CodesMark FlatState::mark_codes(const FlatView& view, size_t rows) {
    const size_t size = view.codes.code_size;
    return {view.codes.data, rows, size, sample_of(view.codes.data, size, rows, kSampledCodes)};
}

void FlatState::remember_codes(const FlatView& view) {
    codes_ = mark_codes(view, view.ntotal);
    codes_fingerprint_.extend(view.codes.data, view.ntotal * view.codes.code_size);
}

/// Drops norms and planes unless the codes they were made from are still the first ones of the index. A
/// sample of the rows and, in turn, a part of all are compared with what they were.
void FlatState::check_codes(const FlatView& view) {
    if (norms_.empty() && !planes_) codes_fingerprint_.clear();
    if (norms_.empty() && !planes_) return;
    const bool shorter = view.ntotal < codes_.rows || view.codes_size < codes_.rows * view.codes.code_size;
    const bool same = !shorter && view.codes.data == codes_.data &&
                      view.codes.code_size == codes_.code_size &&
                      mark_codes(view, codes_.rows).sample == codes_.sample &&
                      codes_fingerprint_.unchanged(view.codes.data, false);
    if (same) return;
    codes_fingerprint_.clear();
    norms_.clear();
    planes_.reset();
}

/// Puts norms into `prepared`, with the quantizer that they were computed with. Those of vectors appended
/// since are added to the cached ones.
void FlatState::add_norms(Prepared& prepared, const FlatView& view, size_t levels, const Executor& executor) {
    const auto cached_rows = [&] {
        const auto found = norms_.find(levels);
        return found != norms_.end() && found->second ? found->second->values.size() : 0;
    };
    const size_t have = is_current(view) ? cached_rows() : 0;
    prepared.quantizer = quantizer_;
    std::vector<float> added(view.ntotal - have);
    if (have < view.ntotal)
        reconstruction_norms(*prepared.quantizer, view.codes, levels, have, view.ntotal, added.data(),
                             executor);
    // Handlers of signals may have searched the index in the meantime, or even changed it.
    const bool keeps = is_current(view) && quantizer_ == prepared.quantizer;
    if (have && (!keeps || cached_rows() != have)) return add_norms(prepared, view, levels, executor);
    std::shared_ptr<CachedNorms> unkept;
    std::shared_ptr<CachedNorms>& norms = keeps ? norms_[levels] : unkept;
    if (!norms) norms = std::make_shared<CachedNorms>();
    if (norms->values.size() < view.ntotal) append(writable(norms), added);
    prepared.norms = norms;
}

}  // namespace drq
