// What the plug-in knows about one adopted index beyond what FAISS stores in it.
//
// FAISS owns the object, so its state lives beside it, found by the object's address and erased when the
// object is destroyed.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/encode.h"
#include "core/executor.h"
#include "core/quantizer.h"
#include "faiss_plugin/abi.h"

namespace drq::plugin {

/// ‖x̂_L − shift‖² of the index's vectors for one code length, see drq::Norms.
struct CachedNorms {
    std::vector<float> values;
    float lowest = 0;  ///< of all values
};

/// What a search needs; shared, so that it stays valid while another thread replaces the index's own.
struct Prepared {
    std::shared_ptr<const Quantizer> quantizer;
    std::shared_ptr<const CachedNorms> norms;  ///< null for inner product
};

/// Options, and caches that are built on first use. All functions may be called from any thread.
///
/// The caches must follow codes and codebooks. The hooks of flat_index.cpp report every change that goes
/// through the index. Changes around it (a vector overwritten from Python, an index emptied as the source of
/// a merge_from) are noticed by pointers, sizes and a sample of the values, checked at each use.
class IndexState {
  public:
    std::atomic<size_t> levels{0};  ///< searched when a call names no number; 0: all

    std::string training() const;
    void set_training(const std::string& options);

    std::shared_ptr<const Encoder> encoder(const IndexView& view);
    Prepared prepare(const IndexView& view, size_t levels, const Executor& executor);

    /// Before a call that appends or removes codes, whose norms are to stay.
    void before_change(const IndexView& view);

    /// After codes were appended.
    void after_append(const IndexView& view);

    /// After codes were removed and the others moved up: kept[i] tells which of the rows before are left.
    void after_remove(const IndexView& view, const std::vector<bool>& kept);

    /// Codes were replaced.
    void forget_norms();

    /// Anything may have changed.
    void forget();

    /// Code lengths with cached norms and how many vectors each covers.
    std::map<size_t, size_t> cached_norms() const;

  private:
    /// What the codes, up to `rows`, and the codebooks looked like when something was cached about them.
    struct CodesMark {
        const uint8_t* data = nullptr;
        size_t rows = 0, code_size = 0;
        uint64_t sample = 0;
    };
    struct CodebooksMark {
        const float* data = nullptr;
        size_t size = 0;
        std::vector<int> nbits;
        uint64_t sample = 0;
    };

    static CodesMark mark_codes(const IndexView& view, size_t rows);
    static CodebooksMark mark_codebooks(const IndexView& view);
    void check_codes(const IndexView& view);
    void check_codebooks(const IndexView& view);
    void extend(std::shared_ptr<CachedNorms>& norms, const IndexView& view, size_t levels,
                const Executor& executor) const;

    mutable std::mutex mutex_;
    std::string training_;
    std::shared_ptr<const Quantizer> quantizer_;
    std::shared_ptr<const Encoder> encoder_;
    std::map<size_t, std::shared_ptr<CachedNorms>> norms_;  ///< by code length
    CodesMark codes_;
    CodebooksMark codebooks_;
};

/// The state of an adopted index. Throws std::logic_error for any other address.
std::shared_ptr<IndexState> state_of(const void* index);

/// The same, but null for an index that is not adopted.
std::shared_ptr<IndexState> find_state(const void* index);

void create_state(const void* index);
void erase_state(const void* index);
size_t state_count();

}  // namespace drq::plugin
