// What the plug-in knows about one IndexResidualQuantizer.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "core/database.h"
#include "core/executor.h"
#include "core/scan/codeword_groups.h"
#include "core/scan/planes.h"
#include "index/state.h"
#include "index/stored_tail.h"

namespace drq {

/// ‖x̂_L − shift‖² of the index's vectors for one code length, see drq::Norms.
struct CachedNorms {
    std::vector<float> values;
    float lowest = 0;  ///< of all values
};

/// Moves up those of n rows of `size` bytes whose bits are not set in `removed`; returns how many.
size_t remove_rows(void* rows, size_t n, size_t size, const std::vector<uint8_t>& removed);

/// What a search needs; shared, so that it stays valid while another thread replaces the index's own.
struct Prepared {
    std::shared_ptr<const Quantizer> quantizer;
    std::shared_ptr<const CachedNorms> norms;  ///< null for inner product
    std::shared_ptr<const Renumbered> renumbered;
    std::shared_ptr<const Planes> planes;
    std::shared_ptr<const StoredTail> tail;
    Tail rows = {};  ///< of the tail

    /// Valid as long as this, the codes and the selector are.
    Database database(const FlatView& view, size_t levels, const Selector* selector) const;
};

class FlatState final : public IndexState {
  public:
    /// For a search for n queries.
    Prepared prepare(const FlatView& view, size_t levels, size_t n, const Executor& executor);

    /// From now on the first `levels` levels of the codes have a second copy in planes, which follows them;
    /// 0: all in the index. Throws std::invalid_argument if there are fewer, or levels are wider than 8 bits.
    void pack(const FlatView& view, size_t levels);
    void unpack();

    /// Levels that have such a copy; 0: none.
    size_t packed_levels() const;

    /// Of the planes, as far as they are filled.
    size_t plane_bytes() const;

    /// From now on the codes go on in this tail, of which a copy is made.
    void set_tail(const StoredTail& tail);

    /// Null if all levels are in the index.
    std::shared_ptr<const StoredTail> tail() const;

    /// Appends the tail's levels to those of a view of the index.
    void add_tail(FlatView& view) const;

    /// See StoredTail::append. An index that gets no more vectors after that is as it was.
    void append_to_tail(size_t at, size_t n, const uint8_t* rows);

    /// Before a change that appends or removes codes, whose norms are to stay.
    void before_change(const FlatView& view);

    /// After codes were appended.
    void after_append(const FlatView& view, Change& change);

    /// After codes were removed and the others moved up: bit i tells of each of the rows before whether it is
    /// gone.
    void after_remove(const FlatView& view, const std::vector<uint8_t>& removed, Change& change);

    std::map<size_t, NormCount> cached_norms() const override;
    std::shared_ptr<IndexState> anew() const override;

  protected:
    void drop_codes_caches() override;
    void drop_caches() override;

  private:
    /// What the codes, up to `rows`, looked like when norms were computed or planes filled.
    struct CodesMark {
        const uint8_t* data = nullptr;
        size_t rows = 0, code_size = 0;
        uint64_t sample = 0;
    };

    static CodesMark mark_codes(const FlatView& view, size_t rows);
    void remember_codes(const FlatView& view);
    void check_codes(const FlatView& view);
    void add_norms(Prepared& prepared, const FlatView& view, size_t levels, const Executor& executor);

    void renumber();
    void extend_planes(const FlatView& view);

    std::map<size_t, std::shared_ptr<CachedNorms>> norms_;  ///< by code length
    std::shared_ptr<const Renumbered> renumbered_;          ///< null until it pays
    std::shared_ptr<const Planes> planes_;                  ///< null until a search needs them
    std::atomic<size_t> packed_{0};                         ///< levels; set by users
    std::shared_ptr<StoredTail> tail_;                      ///< null: all levels are in the index
    CodesMark codes_;
    Fingerprint codes_fingerprint_;
};

}  // namespace drq
