#include "core/search/lists/scan.h"

#include <algorithm>

#include "core/scan/block_scan.h"

namespace drq {

ListScanner::ListScanner(const ListDatabase& database, const Scorer& scorer, size_t longest)
    : scorer_(scorer),
      by_position_(database.by_position),
      selector_(database.selector),
      rows_{database.quantizer,
            {nullptr, 0, database.code_size},
            database.levels,
            database.metric,
            {},
            selector_ ? &row_selector_ : nullptr,
            database.renumbered,
            nullptr,
            database.kernels},
      packer_(rows_, longest) {}

size_t ListScanner::scan(const InvertedList& list, ScanQuery* const* queries, size_t count) {
    list_ = &list;
    rows_.codes.data = list.codes;
    rows_.codes.n = list.n;
    rows_.norms = {list.norms, list.lowest_norm};
    size_t seen = 0;
    for (size_t begin = 0; begin < list.n; begin += packer_.capacity()) {
        ScanBlock block = packer_.pack(begin, std::min(begin + packer_.capacity(), list.n));
        number(block, begin);
        if (block.n > 0) scan_by_unit(scorer_, packer_, block, queries, count);
        seen += block.n;
    }
    return seen;
}

bool ListScanner::is_row_selected(const void* self, int64_t row) {
    const auto& scanner = *static_cast<const ListScanner*>(self);
    return scanner.selector_->is_member(scanner.selector_->self, scanner.list_->id(size_t(row)));
}

/// The packer numbers vectors by their rows in the list; results are to have ids or positions.
void ListScanner::number(ScanBlock& block, size_t begin) {
    if (selector_) {
        ids_.resize(block.n);
        for (size_t i = 0; i < block.n; i++) ids_[i] = name(size_t(block.id(i)));
        block.ids = ids_.data();
    } else {
        block.ids = list_->ids && !by_position_ ? list_->ids + begin : nullptr;
        block.first_id = (by_position_ ? list_->first_position : list_->first_id) + int64_t(begin);
    }
}

}  // namespace drq
