#include "faiss_plugin/ivf_state.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace drq::plugin {

namespace {

/// A few bytes of a list's first codes, middle and last: lists whose codes changed differ.
uint64_t sample_rows(const ReadList& list, size_t rows, size_t code_size) {
    uint64_t hash = rows;
    for (const size_t row : {size_t{0}, rows / 2, rows - 1}) {
        uint64_t bytes = 0;
        std::memcpy(&bytes, list.codes + row * code_size, std::min(code_size, sizeof bytes));
        hash = (hash ^ bytes) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }
    return hash;
}

}  // namespace

InvertedList PreparedLists::list(size_t number, const ReadList& read) const {
    InvertedList list = unread_list(number);
    list.codes = read.codes;
    list.n = read.n;
    list.ids = read.ids;
    if (norms) {
        list.norms = (*norms)[number].values.data();
        list.lowest_norm = (*norms)[number].lowest;
    }
    return list;
}

InvertedList PreparedLists::unread_list(size_t number) const {
    InvertedList list;
    if (!centroids->shift_product.empty()) list.shift_product = centroids->shift_product[number];
    return list;
}

PreparedLists IvfState::prepare(const IvfView& view, size_t levels, const std::vector<size_t>& numbers,
                                const std::vector<ReadList>& lists, const Executor& executor) {
    std::lock_guard lock(mutex_);
    check_codebooks(view);
    if (const Mark now = mark(view); !centroids_ || !(now == mark_)) {
        drop_caches();
        read_centroids(view);
        mark_ = now;
    }
    if (metric_of(view.metric_type) != Metric::L2) return {quantizer_, centroids_, nullptr};
    auto& norms = norms_[levels];
    if (!norms) norms = std::make_shared<std::vector<CachedListNorms>>(view.nlist);
    std::vector<size_t> stale;
    for (size_t i = 0; i < numbers.size(); i++) {
        CachedListNorms& cached = (*norms)[numbers[i]];
        const size_t rows = cached.values.size();
        const bool kept =
            rows > 0 && rows <= lists[i].n && sample_rows(lists[i], rows, view.code_size) == cached.sample;
        if (!kept) cached.values.clear();
        if (cached.values.size() < lists[i].n) stale.push_back(i);
    }
    parallel_for(executor, stale.size(), [&](size_t i, Checkpoint&) {
        extend((*norms)[numbers[stale[i]]], view, levels, numbers[stale[i]], lists[stale[i]]);
    });
    return {quantizer_, centroids_, norms};
}

void IvfState::extend(CachedListNorms& norms, const IvfView& view, size_t levels, size_t number,
                      const ReadList& list) const {
    const size_t have = norms.values.size();
    std::vector<float> centroid;
    if (view.by_residual) {
        centroid.resize(view.d);
        reconstruct_centroid(view.quantizer, number, centroid.data());
    }
    make_room(norms.values, list.n);
    norms.values.resize(list.n);
    const Codes added{list.codes + have * view.code_size, list.n - have, view.code_size};
    list_norms(*quantizer_, added, levels, centroid.empty() ? nullptr : centroid.data(),
               centroids_->mean.data(), norms.values.data() + have);
    norms.lowest = *std::min_element(norms.values.begin(), norms.values.end());
    norms.sample = sample_rows(list, list.n, view.code_size);
}

void IvfState::forget_codes() {
    std::lock_guard lock(mutex_);
    drop_caches();
}

void IvfState::drop_caches() {
    norms_.clear();
    centroids_.reset();
}

std::map<size_t, NormCount> IvfState::cached_norms() const {
    std::lock_guard lock(mutex_);
    std::map<size_t, NormCount> counts;
    for (const auto& [levels, lists] : norms_)
        for (const CachedListNorms& list : *lists) count_norms(list.values, counts[levels]);
    return counts;
}

bool IvfState::Mark::operator==(const Mark& other) const {
    return coarse_quantizer == other.coarse_quantizer && lists == other.lists &&
           centroids == other.centroids && nlist == other.nlist && by_residual == other.by_residual &&
           metric_type == other.metric_type;
}

IvfState::Mark IvfState::mark(const IvfView& view) {
    return {view.quantizer, view.lists,       size_t(field<int64_t>(view.quantizer, layout().ntotal)),
            view.nlist,     view.by_residual, view.metric_type};
}

void IvfState::read_centroids(const IvfView& view) {
    auto centroids = std::make_shared<Centroids>();
    if (view.by_residual && metric_of(view.metric_type) == Metric::L2) {
        const std::vector<float>& shift = quantizer_->shift;
        std::vector<double> sum(view.d);
        std::vector<float> centroid(view.d);
        for (size_t l = 0; l < view.nlist; l++) {
            reconstruct_centroid(view.quantizer, l, centroid.data());
            for (size_t j = 0; j < view.d; j++) sum[j] += centroid[j];
            centroids->shift_product.push_back(
                float(2 * std::inner_product(shift.begin(), shift.end(), centroid.begin(), 0.0)));
        }
        for (const double s : sum) centroids->mean.push_back(float(s / double(view.nlist)));
    }
    centroids_ = std::move(centroids);
}

}  // namespace drq::plugin
