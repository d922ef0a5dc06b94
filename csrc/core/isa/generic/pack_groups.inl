// Repacks rows of byte codes into planes of four levels each (ScanBlock with groups of 4): a transposition of
// 4-byte words. Rows of 4, 8 and 16 bytes take a few permutes, others go word by word.

/// Rows [begin, n), one word at a time.
void pack_words(size_t begin, size_t n, const uint8_t* rows, size_t code_size, size_t levels, uint8_t* out,
                size_t stride) {
    for (size_t m = 0; m < levels; m += 4) {
        const size_t width = code_size - m < 4 ? code_size - m : 4;  // the row may end within the last word
        for (size_t i = begin; i < n; i++)
            std::memcpy(out + m * stride + 4 * i, rows + i * code_size + m, width);
    }
}

void pack_rows_of_8(size_t n, const uint8_t* rows, size_t levels, uint8_t* out, size_t stride) {
    const Bytes even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const Bytes odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    for (size_t i = 0; i < n; i += 16) {
        const Bytes a = load_bytes(rows + 8 * i), b = load_bytes(rows + 8 * i + 64);
        store_bytes(out + 4 * i, _mm512_permutex2var_epi32(a, even, b));
        if (levels > 4) store_bytes(out + 4 * (stride + i), _mm512_permutex2var_epi32(a, odd, b));
    }
}

void pack_rows_of_16(size_t n, const uint8_t* rows, size_t levels, uint8_t* out, size_t stride) {
    // Word w of rows r, r + 4, … of a quarter: two rounds of unpacking leave each word's 16 rows in the order
    // 0 4 8 12 1 5 …, which the last permute undoes.
    const Bytes order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    for (size_t i = 0; i < n; i += 16) {
        Bytes quarter[4], word[4];
        for (size_t j = 0; j < 4; j++) quarter[j] = load_bytes(rows + 16 * i + 64 * j);
        const Bytes low01 = _mm512_unpacklo_epi32(quarter[0], quarter[1]);
        const Bytes high01 = _mm512_unpackhi_epi32(quarter[0], quarter[1]);
        const Bytes low23 = _mm512_unpacklo_epi32(quarter[2], quarter[3]);
        const Bytes high23 = _mm512_unpackhi_epi32(quarter[2], quarter[3]);
        word[0] = _mm512_unpacklo_epi64(low01, low23);
        word[1] = _mm512_unpackhi_epi64(low01, low23);
        word[2] = _mm512_unpacklo_epi64(high01, high23);
        word[3] = _mm512_unpackhi_epi64(high01, high23);
        for (size_t g = 0; 4 * g < levels; g++)
            store_bytes(out + 4 * (g * stride + i), _mm512_permutexvar_epi32(order, word[g]));
    }
}

void pack_groups(size_t n, const uint8_t* rows, size_t code_size, size_t levels, uint8_t* out,
                 size_t stride) {
    size_t packed = code_size == 8 || code_size == 16 ? n / 16 * 16 : 0;
    if (code_size == 4) {
        std::memcpy(out, rows, 4 * n);
        packed = n;
    } else if (code_size == 8) {
        pack_rows_of_8(packed, rows, levels, out, stride);
    } else if (code_size == 16) {
        pack_rows_of_16(packed, rows, levels, out, stride);
    }
    pack_words(packed, n, rows, code_size, levels, out, stride);
}

void add_pack_groups(Kernels& kernels) { kernels.pack_groups = pack_groups; }
