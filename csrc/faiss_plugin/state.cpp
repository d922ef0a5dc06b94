#include "faiss_plugin/state.h"

#include <algorithm>
#include <shared_mutex>
#include <stdexcept>
#include <unordered_map>

#include "core/search.h"

namespace drq::plugin {

namespace {

/// FNV-1a over up to `pieces` equally spaced pieces of `size` bytes, first and last included.
uint64_t sample_of(const void* data, size_t size, size_t count, size_t pieces) {
    const uint8_t* bytes = static_cast<const uint8_t*>(data);
    pieces = std::min(pieces, count);
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < pieces; i++) {
        const size_t piece = pieces > 1 ? i * (count - 1) / (pieces - 1) : 0;
        for (size_t j = 0; j < size; j++) hash = (hash ^ bytes[piece * size + j]) * 0x100000001b3;
    }
    return hash;
}

constexpr size_t kSampledCodes = 32, kSampledFloats = 64;

struct Registry {
    std::shared_mutex mutex;
    std::unordered_map<const void*, std::shared_ptr<IndexState>> states;
};

Registry& registry() {
    static Registry& instance = *new Registry;  // indexes may be destroyed after static destructors ran
    return instance;
}

}  // namespace

std::string IndexState::training() const {
    std::lock_guard lock(mutex_);
    return training_;
}

void IndexState::set_training(const std::string& options) {
    std::lock_guard lock(mutex_);
    training_ = options;
}

std::shared_ptr<const Encoder> IndexState::encoder(const IndexView& view) {
    std::lock_guard lock(mutex_);
    check_codebooks(view);
    if (!encoder_) encoder_ = std::make_shared<const Encoder>(quantizer_);
    return encoder_;
}

Prepared IndexState::prepare(const IndexView& view, size_t levels, const Executor& executor) {
    std::lock_guard lock(mutex_);
    check_codebooks(view);
    if (metric_of(view.metric_type) != Metric::L2) return {quantizer_, nullptr};
    check_codes(view);
    std::shared_ptr<CachedNorms>& norms = norms_[levels];
    extend(norms, view, levels, executor);
    codes_ = mark_codes(view, view.ntotal);
    return {quantizer_, norms};
}

void IndexState::before_change(const IndexView& view) {
    std::lock_guard lock(mutex_);
    check_codes(view);
}

void IndexState::after_append(const IndexView& view) {
    std::lock_guard lock(mutex_);
    codes_.data = view.codes.data;  // growing moves the codes
}

void IndexState::after_remove(const IndexView& view, const std::vector<bool>& kept) {
    std::lock_guard lock(mutex_);
    for (auto& [levels, norms] : norms_) {
        if (!norms) continue;
        auto left = std::make_shared<CachedNorms>();
        left->lowest = norms->lowest;
        for (size_t i = 0; i < norms->values.size(); i++)
            if (kept[i]) left->values.push_back(norms->values[i]);
        norms = std::move(left);
    }
    if (!norms_.empty())
        codes_ =
            mark_codes(view, size_t(std::count(kept.begin(), kept.begin() + ptrdiff_t(codes_.rows), true)));
}

void IndexState::forget_norms() {
    std::lock_guard lock(mutex_);
    norms_.clear();
    codes_ = {};
}

void IndexState::forget() {
    forget_norms();
    std::lock_guard lock(mutex_);
    quantizer_.reset();
    encoder_.reset();
    codebooks_ = {};
}

std::map<size_t, size_t> IndexState::cached_norms() const {
    std::lock_guard lock(mutex_);
    std::map<size_t, size_t> rows;
    for (const auto& [levels, norms] : norms_)
        if (norms) rows[levels] = norms->values.size();
    return rows;
}

IndexState::CodesMark IndexState::mark_codes(const IndexView& view, size_t rows) {
    const size_t size = view.codes.code_size;
    return {view.codes.data, rows, size, sample_of(view.codes.data, size, rows, kSampledCodes)};
}

IndexState::CodebooksMark IndexState::mark_codebooks(const IndexView& view) {
    const float* data = view.codebooks.level.empty() ? nullptr : view.codebooks.level[0];
    return {data, view.codebooks_size, view.codebooks.nbits,
            sample_of(data, sizeof(float), view.codebooks_size, kSampledFloats)};
}

/// Drops the norms unless the codes they were computed from are still the first ones of the index.
void IndexState::check_codes(const IndexView& view) {
    if (norms_.empty()) return;
    const bool shorter = view.ntotal < codes_.rows || view.codes_size < codes_.rows * view.codes.code_size;
    const bool same = !shorter && view.codes.data == codes_.data &&
                      view.codes.code_size == codes_.code_size &&
                      mark_codes(view, codes_.rows).sample == codes_.sample;
    if (!same) norms_.clear();
}

/// Makes quantizer_ the one of the index's codebooks now.
void IndexState::check_codebooks(const IndexView& view) {
    CodebooksMark now = mark_codebooks(view);
    if (quantizer_ && now.data == codebooks_.data && now.size == codebooks_.size &&
        now.nbits == codebooks_.nbits && now.sample == codebooks_.sample)
        return;
    norms_.clear();
    encoder_.reset();
    quantizer_ = std::make_shared<const Quantizer>(Quantizer::from_codebooks(view.codebooks));
    codebooks_ = std::move(now);
}

/// Adds the norms of the vectors appended since. Norms that a running search still reads are copied first.
void IndexState::extend(std::shared_ptr<CachedNorms>& norms, const IndexView& view, size_t levels,
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

std::shared_ptr<IndexState> find_state(const void* index) {
    Registry& all = registry();
    std::shared_lock lock(all.mutex);
    const auto found = all.states.find(index);
    return found == all.states.end() ? nullptr : found->second;
}

std::shared_ptr<IndexState> state_of(const void* index) {
    std::shared_ptr<IndexState> state = find_state(index);
    if (!state) throw std::logic_error("this index was not adopted by drqfaiss");
    return state;
}

void create_state(const void* index) {
    Registry& all = registry();
    std::unique_lock lock(all.mutex);
    all.states[index] = std::make_shared<IndexState>();
}

void erase_state(const void* index) {
    Registry& all = registry();
    std::unique_lock lock(all.mutex);
    all.states.erase(index);
}

size_t state_count() {
    Registry& all = registry();
    std::shared_lock lock(all.mutex);
    return all.states.size();
}

}  // namespace drq::plugin
