#include "core/scan/block_scan.h"

#include <algorithm>

namespace drq {

void sort_by_unit(std::vector<ScanQuery*>& queries) {
    std::sort(queries.begin(), queries.end(),
              [](const ScanQuery* a, const ScanQuery* b) { return a->unit < b->unit; });
}

void scan_by_unit(const Scorer& scorer, BlockPacker& packer, const ScanBlock& block,
                  ScanQuery* const* queries, size_t count) {
    for (size_t i = 0; i < count;) {
        size_t j = i;
        while (j < count && queries[j]->unit == queries[i]->unit) j++;
        if (scorer.kind() != ScoreKind::Exact) packer.set_start(queries[i]->unit);
        scorer.scan(block, queries + i, j - i);
        i = j;
    }
}

}  // namespace drq
