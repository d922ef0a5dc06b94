#include "index/stored_tail.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <stdexcept>

namespace drq {

namespace {

constexpr size_t kLooksAt = 16;  // rows of a shortlist that tell whether the file is in memory

size_t page_size() {
    static const size_t size = size_t(sysconf(_SC_PAGESIZE));
    return size;
}

/// Whether the page is in memory; a system that does not tell says yes.
bool is_resident(uint8_t* page) {
    unsigned char resident = 1;
    return mincore(page, page_size(), &resident) != 0 || (resident & 1);
}

}  // namespace

/// The file in memory, read where it is touched.
class StoredTail::Mapping {
  public:
    Mapping(int file, const std::string& name) {
        struct stat state;
        if (fstat(file, &state) != 0) fail(name);
        size_ = size_t(state.st_size);
        void* const data = mmap(nullptr, size_, PROT_READ, MAP_SHARED, file, 0);
        if (data == MAP_FAILED) fail(name);
        data_ = static_cast<uint8_t*>(data);
    }
    ~Mapping() { munmap(data_, size_); }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;

    /// The pages from `begin` on are read here and there: reading ahead would fetch what nobody wants.
    void read_singly(size_t begin) const {
        const size_t first = begin / page_size() * page_size();
        if (first < size_) madvise(data_ + first, size_ - first, MADV_RANDOM);
    }

    uint8_t* data() const { return data_; }
    size_t size() const { return size_; }

  private:
    [[noreturn]] static void fail(const std::string& name) {
        throw std::runtime_error(name + ": cannot be mapped: " + std::strerror(errno));
    }

    uint8_t* data_;
    size_t size_;
};

StoredTail::StoredTail(int file, const std::string& name, TailShape shape)
    : name_(name),
      shape_(std::move(shape)),
      row_size_((size_t(std::accumulate(shape_.nbits.begin(), shape_.nbits.end(), 0)) + 7) / 8),
      mapping_(std::make_shared<const Mapping>(file, name)) {
    const auto* next = reinterpret_cast<const float*>(mapping_->data() + shape_.codebooks_at);
    for (int nbits : shape_.nbits) {
        codebooks_.push_back(next);
        next += (size_t{1} << nbits) * shape_.d;
    }
    const size_t end = size_t(reinterpret_cast<const uint8_t*>(next) - mapping_->data());
    if (end > mapping_->size() || shape_.rows_at + shape_.n * row_size_ > mapping_->size())
        throw std::invalid_argument(name + ": its " + std::to_string(mapping_->size()) +
                                    " bytes are fewer than its header says");
    mapping_->read_singly(shape_.rows_at);
}

void StoredTail::extend(FlatView& view) const {
    if (shape_.d != view.d)
        throw std::runtime_error(name_ + ": " + mismatch("d", shape_.d, view.d) + ", that of the index");
    if (size() < view.ntotal)
        throw std::runtime_error(name_ + ": " + mismatch("its number of vectors", size(), view.ntotal) +
                                 ", that of the index");
    view.codebooks.nbits.insert(view.codebooks.nbits.end(), shape_.nbits.begin(), shape_.nbits.end());
    view.codebooks.level.insert(view.codebooks.level.end(), codebooks_.begin(), codebooks_.end());
    view.tail_levels = levels();
}

Codes StoredTail::stored_codes() const { return {mapping_->data() + shape_.rows_at, shape_.n, row_size_}; }

Tail StoredTail::rows(size_t first) const {
    return {first, stored_codes(), {added_.data(), added_.size() / row_size_, row_size_}, expect, this};
}

void StoredTail::pack(size_t n, const int32_t* codes, size_t levels, uint8_t* out) const {
    std::fill_n(out, n * row_size_, uint8_t(0));
    const size_t first = levels - shape_.nbits.size();
    for (size_t i = 0; i < n; i++, out += row_size_) {
        size_t bit = 0;
        for (size_t m = 0; m < shape_.nbits.size(); m++) {
            const auto code = uint32_t(codes[i * levels + first + m]);
            for (int b = 0; b < shape_.nbits[m]; b++, bit++)
                out[bit / 8] |= uint8_t((code >> b & 1) << (bit % 8));
        }
    }
}

void StoredTail::append(size_t at, size_t n, const uint8_t* rows) {
    if (at < shape_.n || at > size())
        throw std::runtime_error(name_ + ": " + mismatch("its number of vectors", size(), at) +
                                 ", that of the index");
    added_.resize((at - shape_.n) * row_size_);
    added_.insert(added_.end(), rows, rows + n * row_size_);
}

void StoredTail::add_to(size_t n, const int64_t* rows, float* x) const {
    const Tail tail = this->rows(0);
    for (size_t i = 0; i < n; i++, x += shape_.d) {
        const auto [codes, row] = tail.find(size_t(rows[i]));
        size_t bit = 0;
        for (size_t m = 0; m < shape_.nbits.size(); m++) {
            const float* codeword = codebooks_[m] + codes.number(row, bit, shape_.nbits[m]) * shape_.d;
            for (size_t j = 0; j < shape_.d; j++) x[j] += codeword[j];
            bit += size_t(shape_.nbits[m]);
        }
    }
}

/// Asks for the pages of these rows at once, in their order: read one after the other, where each is touched,
/// they would take as many waits for the disk. Where a few are in memory all are taken to be: asking for them
/// is not free.
void StoredTail::expect(const void* self, const int64_t* rows, size_t n) {
    const auto& tail = *static_cast<const StoredTail*>(self);
    n = size_t(std::find(rows, rows + n, -1) - rows);
    const Codes codes = tail.stored_codes();
    const size_t size = page_size();
    const auto page_of = [&](const uint8_t* byte) { return size_t(byte - tail.mapping_->data()) / size; };
    const auto is_stored = [&](size_t j) { return size_t(rows[j]) < codes.n; };
    bool all_resident = true;
    for (size_t i = 0; i < kLooksAt && i < n; i++)
        if (const size_t j = i * n / kLooksAt; is_stored(j))
            all_resident &= is_resident(tail.mapping_->data() + page_of(codes.row(size_t(rows[j]))) * size);
    if (all_resident) return;
    std::vector<size_t> pages;
    for (size_t j = 0; j < n; j++)
        if (is_stored(j)) {
            pages.push_back(page_of(codes.row(size_t(rows[j]))));
            pages.push_back(page_of(codes.row(size_t(rows[j])) + codes.code_size - 1));
        }
    std::sort(pages.begin(), pages.end());
    for (size_t i = 0, end; i < pages.size(); i = end) {
        for (end = i + 1; end < pages.size() && pages[end] <= pages[end - 1] + 1; end++) {
        }
        madvise(tail.mapping_->data() + pages[i] * size, (pages[end - 1] - pages[i] + 1) * size,
                MADV_WILLNEED);
    }
}

}  // namespace drq
