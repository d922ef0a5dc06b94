// Rows of codes to columns, with AVX2's shuffles; included by the levels that have them.

/// Rows 2 i and 2 i + 1 of 8 bytes, and the two rows 16 further on in the upper half.
template <bool kDense>
inline __m256i load_rows(const uint8_t* rows, size_t pitch, size_t i) {
    const auto pair = [&](size_t row) {
        const auto* first = reinterpret_cast<const __m128i*>(rows + row * pitch);
        if constexpr (kDense) return _mm_loadu_si128(first);
        const auto* second = reinterpret_cast<const double*>(rows + (row + 1) * pitch);
        return _mm_castpd_si128(_mm_loadh_pd(_mm_castsi128_pd(_mm_loadl_epi64(first)), second));
    };
    return _mm256_inserti128_si256(_mm256_castsi128_si256(pair(2 * i)), pair(2 * i + 16), 1);
}

template <bool kDense>
inline void transpose_32x8(const uint8_t* rows, size_t pitch, uint8_t* columns, size_t stride) {
    // Each stage brings twice as many rows of one column together.
    const __m256i zip =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
    __m256i two[8], four[8], eight[8];
    for (size_t i = 0; i < 8; i++) two[i] = _mm256_shuffle_epi8(load_rows<kDense>(rows, pitch, i), zip);
    for (size_t i = 0; i < 4; i++) {
        four[i] = _mm256_unpacklo_epi16(two[2 * i], two[2 * i + 1]);
        four[i + 4] = _mm256_unpackhi_epi16(two[2 * i], two[2 * i + 1]);
    }
    for (size_t i = 0; i < 4; i++) {
        eight[i] = _mm256_unpacklo_epi32(four[2 * i], four[2 * i + 1]);
        eight[i + 4] = _mm256_unpackhi_epi32(four[2 * i], four[2 * i + 1]);
    }
    const size_t column[4] = {0, 4, 2, 6};
    for (size_t i = 0; i < 4; i++) {
        auto* out = columns + column[i] * stride;
        const __m256i low = _mm256_unpacklo_epi64(eight[2 * i], eight[2 * i + 1]);
        const __m256i high = _mm256_unpackhi_epi64(eight[2 * i], eight[2 * i + 1]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), low);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + stride), high);
    }
}

void transpose(size_t n, const uint8_t* rows, size_t pitch, uint8_t* columns, size_t stride) {
    for (size_t i = 0; i < n; i += 32) {
        if (pitch == 8)
            transpose_32x8<true>(rows + i * pitch, pitch, columns + i, stride);
        else
            transpose_32x8<false>(rows + i * pitch, pitch, columns + i, stride);
    }
}

void add_transpose(Kernels& kernels) { kernels.transpose = transpose; }
