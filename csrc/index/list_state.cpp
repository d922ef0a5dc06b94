#include "index/list_state.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "core/scan/codeword_groups.h"
#include "core/search/lists/norms.h"
#include "core/units.h"

namespace drq {

namespace {

/// A few bytes of a list's first codes, middle and last: lists whose codes changed differ.
uint64_t sample_rows(const ListCodes& list, size_t rows, size_t code_size) {
    uint64_t hash = rows;
    for (const size_t row : {size_t{0}, rows / 2, rows - 1}) {
        uint64_t bytes = 0;
        std::memcpy(&bytes, list.codes + row * code_size, std::min(code_size, sizeof bytes));
        hash = with_word(hash, bytes);
    }
    return hash;
}

}  // namespace

InvertedList PreparedLists::list(size_t i, const ListCodes* read) const {
    InvertedList list;
    if (!centroids.hashes.empty()) list.centroid = centroids.values.data() + i * quantizer->d;
    if (!read) return list;
    list.codes = read->codes;
    list.n = read->n;
    list.ids = read->ids;
    if (!norms.empty()) {
        list.norms = norms[i]->values.data();
        list.lowest_norm = norms[i]->lowest;
    }
    return list;
}

Centroids::Centroids(const IvfView& view, const std::vector<size_t>& numbers)
    : values(numbers.size() * view.d), hashes(numbers.size()) {
    for (size_t i = 0; i < numbers.size(); i++) {
        float* centroid = values.data() + i * view.d;
        view.reconstruct_centroid(view.quantizer, numbers[i], centroid);
        hashes[i] = hash_of(centroid, view.d * sizeof(float));
    }
}

PreparedLists IvfState::prepare(const IvfView& view, size_t levels, const std::vector<size_t>& numbers,
                                const std::vector<ListCodes>& lists, const Executor& executor) {
    const bool l2 = metric_of(view.metric_type) == Metric::L2;
    PreparedLists prepared;
    if (l2 && view.by_residual) prepared.centroids = Centroids(view, numbers);
    size_t work = 0;
    for (const ListCodes& list : lists) work += list.n * view.code_size;
    std::unique_lock lock(mutex_);
    check_codebooks(view, work);
    if (const Mark now = mark(view); !(now == mark_)) {
        drop_norms();
        mark_ = now;
    }
    prepared.quantizer = quantizer_;
    renumber(lists);
    prepared.renumbered = renumbered_;
    if (!l2) return prepared;
    if (view.by_residual) {
        if (!centre_) choose_centre(view);
        prepared.centre = centre_;
        divide(prepared.centroids.values.size(), quantizer_->unit, prepared.centroids.values.data());
    }
    if (!lists.empty())
        update_norms(prepared, view, levels, numbers, lists, UnlockingExecutor(executor, lock));
    return prepared;
}

void IvfState::update_norms(PreparedLists& prepared, const IvfView& view, size_t levels,
                            const std::vector<size_t>& numbers, const std::vector<ListCodes>& lists,
                            const Executor& executor) {
    std::vector<SharedNorms> norms(numbers.size());
    const Mark before = mark_;
    if (is_current(view)) {
        if (norms_[levels].size() != view.nlist) norms_[levels].resize(view.nlist);
        if (codes_changed(norms_[levels], numbers, lists, view.code_size)) norms_.clear();
        if (const auto cached = norms_.find(levels); cached != norms_.end())
            for (size_t i = 0; i < numbers.size(); i++) norms[i] = cached->second[numbers[i]];
    }
    std::vector<size_t> stale;
    for (size_t i = 0; i < numbers.size(); i++) {
        const uint64_t centroid = view.by_residual ? prepared.centroids.hashes[i] : 0;
        if (!norms[i] || !are_right(*norms[i], centroid, lists[i], view.code_size)) {
            norms[i] = std::make_shared<CachedListNorms>();
            norms[i]->centroid = centroid;
        }
        if (norms[i]->values.size() == lists[i].n) continue;
        norms[i] = std::make_shared<CachedListNorms>(*norms[i]);  // other threads may be reading those
        stale.push_back(i);
    }
    parallel_for(executor, stale.size(), [&](size_t s, Checkpoint&) {
        const size_t i = stale[s];
        extend(*norms[i], prepared, view, levels, i, lists[i]);
    });
    // Handlers of signals may have searched the index in the meantime, or even changed it.
    if (is_current(view) && quantizer_ == prepared.quantizer && centre_ == prepared.centre &&
        before == mark_) {
        std::vector<SharedNorms>& cached = norms_[levels];
        cached.resize(view.nlist);
        for (size_t i = 0; i < numbers.size(); i++)
            if (cached[numbers[i]] != norms[i]) cached[numbers[i]] = norms[i];
    }
    prepared.norms.assign(std::make_move_iterator(norms.begin()), std::make_move_iterator(norms.end()));
}

/// Compares a part of the codes that norms were computed from with what they were: of another list, and
/// another part of it, at every call.
bool IvfState::codes_changed(const std::vector<SharedNorms>& cached, const std::vector<size_t>& numbers,
                             const std::vector<ListCodes>& lists, size_t code_size) {
    constexpr size_t kShare = 64;  // of the bytes that the call will scan, one is compared
    size_t bytes = 0;
    for (const ListCodes& list : lists) bytes += list.n * code_size;
    for (size_t window = 0; window <= bytes / (kShare * Fingerprint::kWindow); window++) {
        const size_t i = turn_++ % numbers.size();
        const SharedNorms& norms = cached[numbers[i]];
        if (norms && norms->codes.bytes() <= lists[i].n * code_size &&
            !norms->codes.unchanged(lists[i].codes, false))
            return true;
    }
    return false;
}

/// Whether norms are those of the list's first codes.
bool IvfState::are_right(const CachedListNorms& norms, uint64_t centroid, const ListCodes& list,
                         size_t code_size) {
    const size_t rows = norms.values.size();
    return rows > 0 && rows <= list.n && norms.centroid == centroid &&
           sample_rows(list, rows, code_size) == norms.sample;
}

void IvfState::extend(CachedListNorms& norms, const PreparedLists& prepared, const IvfView& view,
                      size_t levels, size_t i, const ListCodes& list) {
    const size_t have = norms.values.size();
    make_room(norms.values, list.n);
    norms.values.resize(list.n);
    const Codes added{list.codes + have * view.code_size, list.n - have, view.code_size};
    list_norms(*prepared.quantizer, added, levels, prepared.list(i, nullptr).centroid, prepared.origin(),
               norms.values.data() + have);
    norms.lowest = *std::min_element(norms.values.begin(), norms.values.end());
    norms.sample = sample_rows(list, list.n, view.code_size);
    norms.codes.extend(list.codes, list.n * view.code_size);
}

void IvfState::drop_norms() {
    norms_.clear();
    centre_.reset();
}

void IvfState::drop_caches() {
    drop_norms();
    renumbered_.reset();
    compared_ = 0;
}

/// Gives levels wider than a byte kernels, once as much has been compared without as that takes.
void IvfState::renumber(const std::vector<ListCodes>& lists) {
    constexpr size_t kOne = 1;  // query, at least, for each list
    if (renumbered_ || quantizer_->max_nbits(quantizer_->levels()) <= 8) return;
    for (const ListCodes& list : lists) compared_ += list.n;
    if (renumbering_pays(isa::active(), *quantizer_, kOne) && compared_ >= renumbering_work(*quantizer_))
        renumbered_ = std::make_shared<const Renumbered>(*quantizer_);
}

std::map<size_t, NormCount> IvfState::cached_norms() const {
    std::lock_guard lock(mutex_);
    std::map<size_t, NormCount> counts;
    for (const auto& [levels, lists] : norms_)
        for (const SharedNorms& list : lists)
            if (list) count_norms(list->values, counts[levels]);
    return counts;
}

bool IvfState::Mark::operator==(const Mark& other) const {
    return lists == other.lists && nlist == other.nlist && by_residual == other.by_residual &&
           metric_type == other.metric_type;
}

IvfState::Mark IvfState::mark(const IvfView& view) {
    return {view.lists, view.nlist, view.by_residual, view.metric_type};
}

/// The mean of a few centroids: norms are right for any point, as long as it stays.
void IvfState::choose_centre(const IvfView& view) {
    constexpr size_t kSampled = 256;
    std::vector<size_t> numbers;
    for (size_t i = 0; i < std::min(kSampled, view.nlist); i++)
        numbers.push_back(i * view.nlist / std::min(kSampled, view.nlist));
    const Centroids sampled(view, numbers);
    std::vector<double> sum(view.d);
    for (size_t i = 0; i < sampled.values.size(); i++) sum[i % view.d] += sampled.values[i];
    std::vector<float> mean;
    for (const double s : sum) mean.push_back(float(s / double(numbers.size())));
    divide(view.d, quantizer_->unit, mean.data());
    centre_ = std::make_shared<const std::vector<float>>(std::move(mean));
}

}  // namespace drq
