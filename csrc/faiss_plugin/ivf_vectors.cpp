#include "faiss_plugin/ivf_vectors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "faiss_abi/inverted_lists.h"
#include "faiss_abi/openmp.h"
#include "faiss_plugin/common.h"
#include "faiss_plugin/ivf_stock.h"
#include "index/codec_io.h"
#include "index/list_state.h"

namespace drq::plugin::ivf {

namespace {

/// Bytes that FAISS writes before a code for its list's number.
void write_list_number(int64_t number, size_t nlist, uint8_t* out) {
    for (size_t left = nlist - 1; left > 0; left >>= 8, number >>= 8) *out++ = uint8_t(number);
}

size_t list_number_bytes(size_t nlist) {
    size_t bytes = 0;
    for (size_t left = nlist - 1; left > 0; left >>= 8) bytes++;
    return bytes;
}

/// Every vector goes to a list that is there. The library drops those that go to none, without a word.
void require_list_numbers(const IvfView& view, int64_t n, const int64_t* numbers) {
    for (int64_t i = 0; i < n; i++) {
        if (numbers[i] < 0)
            throw std::invalid_argument("vector " + std::to_string(i) +
                                        " goes to no list, expected a centroid whose distance is a float");
        if (numbers[i] >= int64_t(view.nlist))
            throw std::invalid_argument("list number " + std::to_string(numbers[i]) + ", expected 0 to " +
                                        std::to_string(view.nlist - 1));
    }
}

/// Codes of vectors that this thread is adding, all of which are encoded before the first is added: encoding
/// may fail or be interrupted, and the library adds block by block.
class Encoded {
  public:
    Encoded(const float* x, size_t n, size_t d, const uint8_t* codes, size_t code_size)
        : x_(x), n_(n), d_(d), codes_(codes), code_size_(code_size), before_(current) {
        current = this;
    }
    ~Encoded() { current = before_; }
    Encoded(const Encoded&) = delete;
    Encoded& operator=(const Encoded&) = delete;

    /// What is being added, if these are among its vectors; else null.
    static const Encoded* find(const float* x) {
        const bool inside = current && current->x_ <= x && x < current->x_ + current->n_ * current->d_;
        return inside ? current : nullptr;
    }

    const uint8_t* codes_of(const float* x) const { return codes_ + size_t(x - x_) / d_ * code_size_; }

  private:
    static thread_local const Encoded* current;

    const float* x_;
    size_t n_, d_;
    const uint8_t* codes_;
    size_t code_size_;
    const Encoded* before_;
};

thread_local const Encoded* Encoded::current = nullptr;

/// The rows of x (n, d) less the centroids of their lists. The library's own function for many vectors ends
/// the process if a centroid cannot be had.
void compute_residuals(const IvfView& view, size_t n, const float* x, const int64_t* numbers,
                       float* residuals) {
    constexpr size_t kTask = 512;
    parallel_for(executor(), (n + kTask - 1) / kTask, [&](size_t task, Checkpoint&) {
        for (size_t i = task * kTask; i < std::min(n, (task + 1) * kTask); i++) {
            float* residual = residuals + i * view.d;
            reconstruct_centroid(view.quantizer, size_t(numbers[i]), residual);
            for (size_t j = 0; j < view.d; j++) residual[j] = x[i * view.d + j] - residual[j];
        }
    });
}

/// The view of an index whose lists are about to change. The library ends the process if they cannot be.
IvfView changeable_view(const void* index) {
    const IvfView view = ivf_view(index);
    require_lists(view);
    if (const std::string reason = why_unchangeable(view.lists, view.nlist); !reason.empty())
        throw std::runtime_error(reason);
    return view;
}

/// Runs a library function that only appends codes to lists, whose norms stay.
template <class Append>
void append(void* self, const Append& stock) {
    const std::shared_ptr<IndexState> state = state_of(self);
    Change change(*state);
    stock();
    change.keep_caches();
}

/// The list numbers that codes begin with, all of lists that there are.
std::vector<int64_t> list_numbers(const IvfView& view, int64_t n, const uint8_t* codes) {
    const size_t before = list_number_bytes(view.nlist);
    std::vector<int64_t> numbers(static_cast<size_t>(n), 0);
    for (size_t i = 0; i < numbers.size(); i++)
        std::memcpy(&numbers[i], codes + i * (before + view.code_size), std::min(before, sizeof numbers[i]));
    require_list_numbers(view, n, numbers.data());
    return numbers;
}

}  // namespace

void encode_vectors(const void* self, int64_t n, const float* x, const int64_t* numbers, uint8_t* out,
                    bool with_numbers) {
    const IvfView view = ivf_view(self);
    if (const Encoded* encoded = with_numbers ? nullptr : Encoded::find(x)) {
        std::copy_n(encoded->codes_of(x), size_t(n) * view.code_size, out);
        return;
    }
    require_encodable(view);
    require_finite(view, n, x);
    require_list_numbers(view, n, numbers);
    constexpr size_t kBatch = 16384;  // bounds the residuals
    const size_t before = with_numbers ? list_number_bytes(view.nlist) : 0, width = before + view.code_size;
    std::vector<float> residuals;
    std::vector<uint8_t> codes;
    for (size_t first = 0; first < size_t(n); first += kBatch) {
        if (first) executor().check_interrupt();
        const size_t count = std::min(kBatch, size_t(n) - first);
        const float* batch = x + first * view.d;
        if (view.by_residual) {
            residuals.resize(count * view.d);
            compute_residuals(view, count, batch, numbers + first, residuals.data());
            batch = residuals.data();
        }
        codes.resize(count * view.code_size);
        encode(*state_of(self), view, rq_of(self), view.code_size, int64_t(count), batch, codes.data());
        for (size_t i = 0; i < count; i++) {
            uint8_t* row = out + (first + i) * width;
            if (with_numbers) write_list_number(numbers[first + i], view.nlist, row);
            std::copy_n(codes.data() + i * view.code_size, view.code_size, row + before);
        }
    }
}

/// FAISS's clustering ends the process when distances between vectors are no floats.
void train(void* self, int64_t n, const float* x) {
    const size_t d = ivf_view(self).d;
    for (size_t i = 0; i < size_t(n); i++) {
        double square = 0;
        for (size_t j = 0; j < d; j++) square += double(x[i * d + j]) * x[i * d + j];
        if (!(4 * square <= std::numeric_limits<float>::max()))
            throw std::invalid_argument("training vector " + std::to_string(i) + " has length " +
                                        std::to_string(std::sqrt(square)) +
                                        ", expected at most 9e18: squared distances are to fit in floats");
    }
    stock->train(self, n, x);
}

void train_encoder(void* self, int64_t n, const float* x, const int64_t* numbers) {
    const std::shared_ptr<IndexState> state = state_of(self);
    if (state->training().empty())
        stock->train_encoder(self, n, x, numbers);
    else
        train_quantizer(*state, ivf_view(self), rq_of(self), n, x);
    state->forget();
}

/// All vectors are checked before the first is added.
void add_core(void* self, int64_t n, const float* x, const int64_t* ids, const int64_t* numbers,
              void* context) {
    const IvfView view = changeable_view(self);
    if (Encoded::find(x)) {  // a block of what is being added: the library calls back
        stock->add_core(self, n, x, ids, numbers, context);
        return;
    }
    std::vector<uint8_t> codes(size_t(n) * view.code_size);
    encode_vectors(self, n, x, numbers, codes.data(), false);
    const Encoded encoded(x, size_t(n), view.d, codes.data(), view.code_size);
    append(self, [&] { stock->add_core(self, n, x, ids, numbers, context); });
}

void add_sa_codes(void* self, int64_t n, const uint8_t* codes, const int64_t* ids) {
    list_numbers(changeable_view(self), n, codes);
    append(self, [&] { stock->add_sa_codes(self, n, codes, ids); });
}

void reconstruct(const void* self, int64_t key, float* vector) {
    require_searchable(ivf_view(self));
    stock->reconstruct(self, key, vector);
}

void reconstruct_n(const void* self, int64_t first, int64_t n, float* vectors) {
    require_searchable(ivf_view(self));
    stock->reconstruct_n(self, first, n, vectors);
}

/// The library reads whatever lies there.
void reconstruct_from_offset(const void* self, int64_t list, int64_t row, float* vector) {
    const IvfView view = ivf_view(self);
    require_searchable(view);
    const bool is_list = list >= 0 && size_t(list) < view.nlist;
    const size_t size = is_list ? list_size(view.lists, size_t(list)) : 0;
    if (row < 0 || size_t(row) >= size)
        throw std::invalid_argument("row " + std::to_string(row) + " of list " + std::to_string(list) +
                                    ", which has " + std::to_string(size) + " vectors");
    stock->reconstruct_from_offset(self, list, row, vector);
}

/// The library decodes on threads that nothing may be thrown from: what could be is thrown before.
void sa_decode(const void* self, int64_t n, const uint8_t* codes, float* x) {
    const IvfView view = ivf_view(self);
    require_encodable(view);
    std::vector<int64_t> numbers = list_numbers(view, n, codes);
    if (view.by_residual) {
        std::sort(numbers.begin(), numbers.end());
        numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
        std::vector<float> centroid(view.d);
        for (const int64_t number : numbers)
            reconstruct_centroid(view.quantizer, size_t(number), centroid.data());
    }
    stock->sa_decode(self, n, codes, x);
}

void merge_from(void* self, void* other, int64_t add_id) {
    if (self == other) throw std::invalid_argument("cannot merge an index with itself");
    changeable_view(self);
    if (stock->overridden.is_instance(other)) require_same_quantizer(ivf_view(self), changeable_view(other));
    const std::shared_ptr<IndexState> emptied = find_state(other);
    std::optional<Change> emptying;
    if (emptied) emptying.emplace(*emptied);
    append(self, [&] { stock->merge_from(self, other, add_id); });
}

size_t remove_ids(void* self, const void* selector) {
    changeable_view(self);
    const std::shared_ptr<IndexState> state = state_of(self);
    const Change change(*state);
    return stock->remove_ids(self, selector);
}

void update_vectors(void* self, int n, const int64_t* ids, const float* x) {
    require_encodable(changeable_view(self));
    require_finite(ivf_view(self), n, x);
    const std::shared_ptr<IndexState> state = state_of(self);
    const Change change(*state);
    stock->update_vectors(self, n, ids, x);
}

void reset(void* self) {
    changeable_view(self);
    const std::shared_ptr<IndexState> state = state_of(self);
    const Change change(*state);
    stock->reset(self);
}

}  // namespace drq::plugin::ivf
