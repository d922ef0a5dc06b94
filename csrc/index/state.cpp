#include "index/state.h"

#include <algorithm>
#include <stdexcept>
#include <unordered_map>

namespace drq {

namespace {

struct Registry {
    ForkMutex mutex;
    std::unordered_map<const void*, std::shared_ptr<IndexState>> states;
};

Registry& registry() {
    static Registry& instance = *new Registry;  // indexes may be destroyed after static destructors ran
    return instance;
}

size_t with_spare(size_t n) { return n + n / 8; }

}  // namespace

ForkMutex& states_mutex() { return registry().mutex; }

ForkMutex& options_mutex() {
    static ForkMutex& instance = *new ForkMutex;  // as for the registry
    return instance;
}

void renew_states() {
    for (auto& [index, state] : registry().states) {
        if (state->survived_fork()) continue;
        std::shared_ptr<IndexState> fresh = state->anew();
        fresh->take_options(*state);
        new std::shared_ptr<IndexState>(state);  // never freed: a thread was in the middle of changing it
        state = std::move(fresh);
    }
}

void count_norms(const std::vector<float>& norms, NormCount& count) {
    count.first += norms.size();
    count.second += norms.capacity() * sizeof(float);
}

void make_room(std::vector<float>& norms, size_t n) {
    if (n > norms.capacity()) norms.reserve(std::max(n, with_spare(norms.size())));
}

void release_unused(std::vector<float>& norms) {
    if (norms.capacity() > with_spare(norms.size())) norms.shrink_to_fit();
}

void UnlockingExecutor::check_interrupt() const {
    struct Open {
        std::unique_lock<std::mutex>& lock;
        explicit Open(std::unique_lock<std::mutex>& lock) : lock(lock) { lock.unlock(); }
        ~Open() { lock.lock(); }
    } open(lock_);
    executor_.check_interrupt();
}

Depth Depth::checked(size_t M, size_t tail) const {
    const size_t hot = M - tail;
    const auto refuse = [](const char* name, size_t is, const std::string& expected) {
        throw std::invalid_argument(std::string(name) + " is " + std::to_string(is) + ", expected " +
                                    expected);
    };
    if (levels > hot)
        refuse("levels", levels, (tail ? "0 (all in memory) to " : "0 (all) to ") + std::to_string(hot));
    Depth depth{levels ? levels : hot, refine_levels ? refine_levels : M, refine_factor};
    if (depth.refine_levels > M) refuse("refine_levels", refine_levels, "0 (all) to " + std::to_string(M));
    if (!refine_factor) return depth;
    if (depth.refine_levels < depth.levels)
        refuse("refine_levels", refine_levels,
               "at least the " + std::to_string(depth.levels) + " levels that are scanned");
    return depth;
}

IndexState::IndexState() : options_(std::make_shared<const Options>()) {}

std::shared_ptr<const IndexState::Options> IndexState::options() const {
    std::shared_lock lock(options_mutex());
    return options_;
}

void IndexState::set_options(Options options) {
    auto next = std::make_shared<const Options>(std::move(options));
    std::unique_lock lock(options_mutex());
    options_.swap(next);
}

std::string IndexState::training() const { return options()->training; }

void IndexState::set_training(const std::string& training) {
    set_options({training, options()->gain_weights});
}

void IndexState::set_gain_weights(const std::vector<float>& weights) {
    set_options({options()->training, weights});
    std::lock_guard lock(mutex_);
    encoder_.reset();
}

void IndexState::take_options(const IndexState& other) {
    levels = other.levels.load();
    refine_levels = other.refine_levels.load();
    refine_factor = other.refine_factor.load();
    options_ = other.options_;
}

bool IndexState::survived_fork() {
    if (!mutex_.try_lock()) return false;
    // Encoders have locks of their own, which a thread that used this one may have held.
    if (encoder_.use_count() > 1) encoder_.reset();
    mutex_.unlock();
    return true;
}

std::shared_ptr<const Encoder> IndexState::encoder(const QuantizerView& view) {
    std::lock_guard lock(mutex_);
    check_codebooks(view);
    if (!encoder_) encoder_ = std::make_shared<const Encoder>(quantizer_, options()->gain_weights);
    return encoder_;
}

void IndexState::forget_codes() {
    std::lock_guard lock(mutex_);
    drop_codes_caches();
}

Change::Change(IndexState& state) : state_(state) {
    std::lock_guard lock(state_.mutex_);  // waits for searches that compute what they will keep
    before_ = state_.version();
    state_.begun_++;
}

Change::~Change() {
    std::lock_guard lock(state_.mutex_);
    if (!kept_) state_.drop_codes_caches();
    state_.ended_++;
}

void IndexState::forget() {
    forget_codes();
    std::lock_guard lock(mutex_);
    quantizer_.reset();
    encoder_.reset();
    codebooks_ = {};
}

IndexState::CodebooksMark IndexState::mark_codebooks(const QuantizerView& view) {
    const float* data = view.codebooks.level.empty() ? nullptr : view.codebooks.level[0];
    return {data, view.codebooks_size, view.codebooks.nbits};
}

bool IndexState::CodebooksMark::operator==(const CodebooksMark& other) const {
    return data == other.data && size == other.size && nbits == other.nbits;
}

void IndexState::check_codebooks(const QuantizerView& view, size_t work) {
    constexpr size_t kTimes = 64;  // as much work: reading the codebooks is then less than a hundredth of it
    CodebooksMark now = mark_codebooks(view);
    const size_t bytes = now.data ? now.size * sizeof(float) : 0;
    if (quantizer_ && now == codebooks_ && codebooks_fingerprint_.unchanged(now.data, work >= kTimes * bytes))
        return;
    drop_caches();
    encoder_.reset();
    quantizer_ = std::make_shared<const Quantizer>(Quantizer::from_codebooks(view.codebooks));
    codebooks_fingerprint_.clear();
    codebooks_fingerprint_.extend(now.data, bytes);
    codebooks_ = std::move(now);
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

void add_state(const void* index, std::shared_ptr<IndexState> state) {
    Registry& all = registry();
    std::unique_lock lock(all.mutex);
    all.states[index] = std::move(state);
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

}  // namespace drq
