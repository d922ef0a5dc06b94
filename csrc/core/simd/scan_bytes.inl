// The scan with one byte table per level; included once per SIMD level, which defines Bytes (a register of
// codes) and on it: load_bytes, add16, shift_left_byte, shift_right_byte, broadcast16, above16, lookup<bits>.
//
// Entries are added up as 16-bit words: once as they stand (even bytes, with odd bytes above them) and once
// shifted down (odd bytes). Taking the odd sums off the first gives the even ones.

struct Sums {
    Bytes words{}, odd{};

    void add(Bytes entries) {
        words = add16(words, entries);
        odd = add16(odd, shift_right_byte(entries));
    }

    /// One bit per vector: start + sum > threshold.
    uint64_t above(const int16_t* start, Bytes threshold) const {
        const Bytes even = sub16(words, shift_left_byte(odd));
        return above16(add16(even, load_bytes(start)), add16(odd, load_bytes(start + sizeof(Bytes) / 2)),
                       threshold);
    }
};

template <int kBits>
void scan_bytes_of(const ScanBlock& block, ScanQuery& query) {
    constexpr size_t W = sizeof(Bytes);
    Bytes threshold = broadcast16(query.threshold);
    for (size_t v = 0; v < block.n; v += 2 * W) {
        Sums sums[2];
        const uint8_t* codes = block.bytes + v;
        const uint8_t* table = query.tables;
        for (size_t m = 0; m < block.levels; m++, codes += block.stride, table += 1 << kBits) {
            Bytes entries[2];
            lookup<kBits>(table, load_bytes(codes), load_bytes(codes + W), entries);
            sums[0].add(entries[0]);
            sums[1].add(entries[1]);
        }
        const uint64_t first = sums[0].above(block.start16 + v, threshold);
        const uint64_t second = sums[1].above(block.start16 + v + W, threshold);
        if (__builtin_expect((first | second) != 0, 0)) {
            rescore(query, block, v, first);
            rescore(query, block, v + W, second);
            threshold = broadcast16(query.threshold);
        }
    }
}

void scan_bytes(const ScanBlock& block, ScanQuery& query, int table_bits) {
    switch (table_bits) {
        case 4:
            return scan_bytes_of<4>(block, query);
        case 5:
            return scan_bytes_of<5>(block, query);
        case 6:
            return scan_bytes_of<6>(block, query);
        case 7:
            return scan_bytes_of<7>(block, query);
        default:
            return scan_bytes_of<8>(block, query);
    }
}

/// How far a norm lowers a score, as an integer that never lowers it too far.
inline int32_t start_value(float norm, float lowest, float per_unit, float limit) {
    const float lowered = (norm - lowest) * per_unit;
    return -int32_t(lowered < limit ? lowered : limit);
}

/// Per register of codes the even vectors' values, then the odd ones', as scan_bytes adds them up.
void start16(size_t n, const float* norms, float lowest, float per_unit, int16_t* __restrict start) {
    constexpr size_t W = sizeof(Bytes), kHalf = W / 2;
    size_t v = 0;
    for (; v + W <= n; v += W)
        for (size_t i = 0; i < kHalf; i++) {
            start[v + i] = int16_t(start_value(norms[v + 2 * i], lowest, per_unit, float(1 << 14)));
            start[v + kHalf + i] =
                int16_t(start_value(norms[v + 2 * i + 1], lowest, per_unit, float(1 << 14)));
        }
    for (size_t i = v; i < n; i++)
        start[v + (i % 2) * kHalf + (i - v) / 2] =
            int16_t(start_value(norms[i], lowest, per_unit, float(1 << 14)));
}
