// The scan with one table for all levels: the recurrent quantizer's own. A register holds 16 vectors' codes
// of four levels; the byte dot product multiplies the looked-up entries by the levels' weights and adds all
// four to the vector's 32-bit score. Tables stay in registers for a whole block, for up to kTile queries at
// once.

constexpr int kTile = 4;
constexpr size_t kVectors = 16;         // per register of scores
constexpr size_t kStep = 4 * kVectors;  // vectors between two tests for candidates
constexpr int kMostFixedGroups = 4;     // up to 16 levels the groups are unrolled, their weights in registers

/// Up to kTile queries. kGroups: registers of four levels, or 0 for any number.
template <int kQueries, int kGroups>
class SharedTile {
  public:
    SharedTile(const ScanBlock& block, ScoreQuery* const* queries, Rescore rescore)
        : block_(block),
          queries_(queries),
          rescore_(rescore),
          groups_(kGroups ? size_t(kGroups) : (block.levels + 3) / 4) {
        for (int q = 0; q < kQueries; q++) {
            tables_[q].load(queries[q]->tables);
            set_below(q);
        }
        for (int g = 0; g < kGroups; g++) weights_[g] = weights(size_t(g));
    }

    void scan() {
        for (size_t v = 0; v < block_.n; v += kStep) {
            Bytes all = _mm512_set1_epi32(-1);
            for (size_t i = 0; i < kStep; i += kVectors) {
                Bytes scores[kQueries];
                score(v + i, scores);
                for (int q = 0; q < kQueries; q++) all = _mm512_and_si512(all, scores[q]);
            }
            if (__builtin_expect(_mm512_movepi32_mask(all) != 0xffff, 0)) offer(v);
        }
    }

  private:
    Bytes weights(size_t g) const {
        int32_t four;
        std::memcpy(&four, queries_[0]->weights + 4 * g, sizeof four);
        return _mm512_set1_epi32(four);
    }

    /// Candidates are to come out non-negative, for a test of the sign bits alone.
    void set_below(int q) { below_[q] = _mm512_set1_epi32(-(queries_[q]->threshold + 1)); }

    /// Each query's scores of 16 vectors less its threshold.
    inline void score(size_t v, Bytes* scores) const {
        const Bytes start = load_bytes(block_.start + v);
        for (int q = 0; q < kQueries; q++) scores[q] = _mm512_add_epi32(start, below_[q]);
        for (size_t g = 0; g < (kGroups ? size_t(kGroups) : groups_); g++) {
            const Bytes codes = load_bytes(block_.bytes + 4 * (g * block_.stride + v));
            const Bytes weight = kGroups ? weights_[g] : weights(g);
            const __mmask64 high = _mm512_movepi8_mask(codes);
            for (int q = 0; q < kQueries; q++)
                scores[q] = _mm512_dpbusd_epi32(scores[q], weight, tables_[q].lookup(codes, high));
        }
    }

    /// Rescores the candidates among kStep vectors. Scoring them again is rare enough to keep the scores of
    /// the main loop in registers.
    __attribute__((noinline)) void offer(size_t v) {
        uint64_t candidates[kQueries] = {};
        for (size_t i = 0; i < kStep; i += kVectors) {
            Bytes scores[kQueries];
            score(v + i, scores);
            for (int q = 0; q < kQueries; q++) {
                const uint32_t negative = _mm512_movepi32_mask(scores[q]);
                candidates[q] |= uint64_t(~negative & 0xffff) << i;
            }
        }
        for (int q = 0; q < kQueries; q++) {
            rescore_(*queries_[q], block_, v, &candidates[q], 1);
            set_below(q);
        }
    }

    const ScanBlock& block_;
    ScoreQuery* const* queries_;
    const Rescore rescore_;
    const size_t groups_;
    Table256 tables_[kQueries];
    Bytes below_[kQueries];
    Bytes weights_[kGroups ? kGroups : 1];
};

template <int kQueries>
void scan_tile(const ScanBlock& block, ScoreQuery* const* queries, Rescore rescore) {
    switch ((block.levels + 3) / 4) {
        case 1:
            return SharedTile<kQueries, 1>(block, queries, rescore).scan();
        case 2:
            return SharedTile<kQueries, 2>(block, queries, rescore).scan();
        case 3:
            return SharedTile<kQueries, 3>(block, queries, rescore).scan();
        case 4:
            return SharedTile<kQueries, 4>(block, queries, rescore).scan();
        default:
            return SharedTile<kQueries, 0>(block, queries, rescore).scan();
    }
}

void scan_shared(const ScanBlock& block, ScoreQuery* const* queries, size_t count, Rescore rescore) {
    for (; count >= kTile; queries += kTile, count -= kTile) scan_tile<kTile>(block, queries, rescore);
    switch (count) {
        case 3:
            return scan_tile<3>(block, queries, rescore);
        case 2:
            return scan_tile<2>(block, queries, rescore);
        case 1:
            return scan_tile<1>(block, queries, rescore);
    }
}

void start32(size_t n, const float* norms, float lowest, float per_unit, int32_t* __restrict start) {
    for (size_t i = 0; i < n; i++) start[i] = start_value(norms[i], lowest, per_unit, float(1 << 30));
}

void add_shared(Kernels& kernels) {
    kernels.scan_shared = scan_shared;
    kernels.start32 = start32;
}
