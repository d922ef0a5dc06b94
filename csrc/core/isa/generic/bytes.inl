// The scan with a byte table per level; included once per instruction set, which defines Bytes (a register of
// codes), ByteMask (a bit per byte of it) and on them: load_bytes, store_bytes, add16, sub16,
// shift_left_byte, shift_right_byte, broadcast16, above16, Index<bits, dropped> (codes prepared for
// look-ups), kBounds (whether bits may be dropped) and split16 (start values in the order of the sums).
//
// Entries are added up as 16-bit words: once as they stand (even bytes, with odd bytes above them) and once
// shifted down (odd bytes). Taking the odd sums off the first gives the even ones.

constexpr size_t kMostTogether = 4;  // queries that share the preparation of codes

struct Sums {
    Bytes words{}, odd{};

    void add(Bytes entries) {
        words = add16(words, entries);
        odd = add16(odd, shift_right_byte(entries));
    }

    /// start + sum of the even vectors, then of the odd ones.
    void store(const int16_t* start, int16_t* scores) const {
        const Bytes even = sub16(words, shift_left_byte(odd));
        store_bytes(scores, add16(even, load_bytes(start)));
        store_bytes(scores + sizeof(Bytes) / 2, add16(odd, load_bytes(start + sizeof(Bytes) / 2)));
    }

    /// One bit per vector: start + sum > threshold.
    ByteMask above(const int16_t* start, Bytes threshold) const {
        const Bytes even = sub16(words, shift_left_byte(odd));
        return above16(add16(even, load_bytes(start)), add16(odd, load_bytes(start + sizeof(Bytes) / 2)),
                       threshold);
    }
};

/// Vectors [begin, end) of a block for kQueries queries: a bit for each that stays above the threshold.
/// kDropped: how many bits of a code do not count, see ByteTables.
template <int kBits, int kDropped, size_t kQueries>
void score_bytes_of(const ScanBlock& block, size_t begin, size_t end, ScoreQuery* const* queries,
                    uint64_t* const* above) {
    constexpr size_t W = sizeof(Bytes);
    Bytes threshold[kQueries];
    const uint8_t* tables[kQueries];
    for (size_t q = 0; q < kQueries; q++) {
        threshold[q] = broadcast16(queries[q]->threshold);
        tables[q] = queries[q]->tables;
    }
    for (size_t v = begin; v < end; v += W) {
        Sums sums[kQueries];
        const uint8_t* codes = block.bytes + v;
        for (size_t m = 0; m < block.levels; m++, codes += block.stride) {
            const Index<kBits, kDropped> index(load_bytes(codes));
            for (size_t q = 0; q < kQueries; q++) sums[q].add(index.lookup(tables[q] + (m << kBits)));
        }
        for (size_t q = 0; q < kQueries; q++) {
            const ByteMask mask = sums[q].above(block.start16 + v, threshold[q]);
            std::memcpy(reinterpret_cast<uint8_t*>(above[q]) + (v - begin) / 8, &mask, sizeof mask);
        }
    }
}

template <int kBits, int kDropped>
void score_bytes_by_count(const ScanBlock& block, size_t begin, size_t end, ScoreQuery* const* queries,
                          size_t count, uint64_t* const* above) {
    for (; count >= kMostTogether; count -= kMostTogether, queries += kMostTogether, above += kMostTogether)
        score_bytes_of<kBits, kDropped, kMostTogether>(block, begin, end, queries, above);
    switch (count) {
        case 3:
            return score_bytes_of<kBits, kDropped, 3>(block, begin, end, queries, above);
        case 2:
            return score_bytes_of<kBits, kDropped, 2>(block, begin, end, queries, above);
        case 1:
            return score_bytes_of<kBits, kDropped, 1>(block, begin, end, queries, above);
    }
}

void score_bytes(const ScanBlock& block, size_t begin, size_t end, ScoreQuery* const* queries, size_t count,
                 ByteTables tables, uint64_t* const* above) {
    const auto score = [&] {
        if constexpr (kBounds) {
            if (tables.dropped == 1) return score_bytes_by_count<7, 1>;
            if (tables.dropped == 2) return score_bytes_by_count<6, 2>;
        }
        switch (tables.bits) {
            case 4:
                return score_bytes_by_count<4, 0>;
            case 5:
                return score_bytes_by_count<5, 0>;
            case 6:
                return score_bytes_by_count<6, 0>;
            case 7:
                return score_bytes_by_count<7, 0>;
            default:
                return score_bytes_by_count<8, 0>;
        }
    }();
    score(block, begin, end, queries, count, above);
}

void to_bytes(size_t n, const float* __restrict values, float low, float per_unit, uint8_t* __restrict out) {
    for (size_t k = 0; k < n; k++) {
        const float scaled = (values[k] - low) * per_unit + 0.5f;
        out[k] = uint8_t(int32_t(scaled < 255.f ? scaled : 255.f));
    }
}

void translate(size_t n, const uint8_t* table, uint8_t* bytes) {
    for (size_t i = 0; i < n; i += sizeof(Bytes))
        store_bytes(bytes + i, Index<8, 0>(load_bytes(bytes + i)).lookup(table));
}

template <int kBits>
void byte_scores_of(const ScanBlock& block, const ScoreQuery& query, int16_t* scores) {
    for (size_t v = 0; v < block.n; v += sizeof(Bytes)) {
        Sums sums;
        const uint8_t* codes = block.bytes + v;
        for (size_t m = 0; m < block.levels; m++, codes += block.stride)
            sums.add(Index<kBits, 0>(load_bytes(codes)).lookup(query.tables + (m << kBits)));
        sums.store(block.start16 + v, scores + v);
    }
}

void byte_scores(const ScanBlock& block, const ScoreQuery& query, ByteTables tables, int16_t* scores) {
    const auto score = [&] {
        switch (tables.bits) {
            case 4:
                return byte_scores_of<4>;
            case 5:
                return byte_scores_of<5>;
            case 6:
                return byte_scores_of<6>;
            case 7:
                return byte_scores_of<7>;
            default:
                return byte_scores_of<8>;
        }
    }();
    score(block, query, scores);
    constexpr size_t W = sizeof(Bytes);
    for (size_t i = block.n; i % 64 != 0; i++)
        scores[i / W * W + (i % 2) * W / 2 + i % W / 2] = std::numeric_limits<int16_t>::min();
}

void scores_above(size_t n, const int16_t* scores, int16_t threshold, uint64_t* above) {
    constexpr size_t W = sizeof(Bytes);
    for (size_t v = 0; v < n; v += W) {
        const ByteMask mask =
            above16(load_bytes(scores + v), load_bytes(scores + v + W / 2), broadcast16(threshold));
        std::memcpy(reinterpret_cast<uint8_t*>(above) + v / 8, &mask, sizeof mask);
    }
}

/// How far a norm lowers a score, as an integer that never lowers it too far.
inline int32_t start_value(float norm, float lowest, float per_unit, float limit) {
    const float lowered = (norm - lowest) * per_unit;
    return -int32_t(lowered < limit ? lowered : limit);
}

/// Per register of codes the even vectors' values, then the odd ones', as score_bytes adds them up.
void start16(size_t n, const float* norms, float lowest, float per_unit, int16_t* start) {
    constexpr size_t W = sizeof(Bytes);
    size_t v = 0;
    for (; v + W <= n; v += W) {
        int32_t values[W];
        for (size_t i = 0; i < W; i++)
            values[i] = start_value(norms[v + i], lowest, per_unit, float(1 << 14));
        split16(values, start + v);
    }
    for (size_t i = v; i < n; i++)
        start[v + (i % 2) * W / 2 + (i - v) / 2] =
            int16_t(start_value(norms[i], lowest, per_unit, float(1 << 14)));
}

void add_bytes(Kernels& kernels) {
    kernels.score_bytes = score_bytes;
    kernels.to_bytes = to_bytes;
    kernels.byte_scores = byte_scores;
    kernels.scores_above = scores_above;
    kernels.start16 = start16;
    kernels.translate = translate;
    kernels.bounds_pay = kBounds;
}
