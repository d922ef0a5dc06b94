// What the plug-in knows about one IndexResidualQuantizer.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "core/executor.h"
#include "faiss_plugin/state.h"

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

class FlatState final : public IndexState {
  public:
    Prepared prepare(const FlatView& view, size_t levels, const Executor& executor);

    /// Before a call that appends or removes codes, whose norms are to stay.
    void before_change(const FlatView& view);

    /// After codes were appended.
    void after_append(const FlatView& view);

    /// After codes were removed and the others moved up: kept[i] tells which of the rows before are left.
    void after_remove(const FlatView& view, const std::vector<bool>& kept);

    void forget_norms() override;
    std::map<size_t, size_t> cached_norms() const override;

  protected:
    void clear_norms() override { norms_.clear(); }

  private:
    /// What the codes, up to `rows`, looked like when norms were computed.
    struct CodesMark {
        const uint8_t* data = nullptr;
        size_t rows = 0, code_size = 0;
        uint64_t sample = 0;
    };

    static CodesMark mark_codes(const FlatView& view, size_t rows);
    void check_codes(const FlatView& view);
    void extend(std::shared_ptr<CachedNorms>& norms, const FlatView& view, size_t levels,
                const Executor& executor) const;

    std::map<size_t, std::shared_ptr<CachedNorms>> norms_;  ///< by code length
    CodesMark codes_;
};

}  // namespace drq::plugin
