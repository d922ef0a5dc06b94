// The scan of one inverted list for all queries that probe it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/scan/bounds.h"
#include "core/scan/packer.h"
#include "core/search/lists/database.h"

namespace drq {

/// Owns the memory to repack one list after the other.
class ListScanner {
  public:
    /// Database and scorer must outlive this. `longest`: vectors of the longest list to scan, if that is
    /// known.
    ListScanner(const ListDatabase& database, const Scorer& scorer, size_t longest = SIZE_MAX);
    ListScanner(const ListScanner&) = delete;  // it points into itself
    ListScanner& operator=(const ListScanner&) = delete;

    /// Offers the list's vectors to queries that have entered it, sorted by unit.
    /// Returns how many vectors the selector let through.
    size_t scan(const InvertedList& list, ScanQuery* const* queries, size_t count);

  private:
    /// What a scan calls a row of the list at hand.
    int64_t name(size_t row) const {
        return by_position_ ? list_->first_position + int64_t(row) : list_->id(row);
    }
    static bool is_row_selected(const void* self, int64_t row);
    void number(ScanBlock& block, size_t begin);

    const Scorer& scorer_;
    const bool by_position_;
    const Selector* selector_;                            ///< by id
    const Selector row_selector_{is_row_selected, this};  ///< the same by row of the list at hand
    Database rows_;                                       ///< the list at hand
    BlockPacker packer_;
    const InvertedList* list_ = nullptr;
    std::vector<int64_t> ids_;
};

}  // namespace drq
