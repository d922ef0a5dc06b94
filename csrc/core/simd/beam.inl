// The steps of beam search over one row of K codewords; included once per SIMD level, after products.inl, with
// Lane, Mask and mask_bits() defined. Multiply and add stay apart, so every width rounds alike.

constexpr size_t kLaneFloats = sizeof(Lane) / sizeof(float);
constexpr size_t kRowLanes = 16 / kLaneFloats;  // vectors per 16 floats, the unit rows are padded to

inline Lane load(const float* p) { return *reinterpret_cast<const UnalignedLane*>(p); }
inline void store(float* p, Lane v) { *reinterpret_cast<UnalignedLane*>(p) = v; }
inline Lane larger(Lane a, Lane b) { return a > b ? a : b; }

__attribute__((always_inline)) inline void update_rows(size_t stride, const float* table, size_t n_rows,
                                                       const float* const* rows, const float* weights,
                                                       const float* half_norms, float* out, float* maxima) {
    Lane best[kRowLanes];
    for (Lane& lane : best) lane = Lane{} - __builtin_inff();
    for (size_t k = 0; k < stride; k += 16)
        for (size_t v = 0; v < kRowLanes; v++) {
            const size_t at = k + v * kLaneFloats;
            Lane value = load(table + at);
            for (size_t i = 0; i < n_rows; i++) value -= load(rows[i] + at) * weights[i];
            store(out + at, value);
            best[v] = larger(value - load(half_norms + at), best[v]);
        }
    for (size_t v = 0; v < kRowLanes; v++) store(maxima + v * kLaneFloats, best[v]);
}

void update_table(size_t stride, const float* table, size_t n_rows, const float* const* rows, const float* weights,
                  const float* half_norms, float* out, float* maxima) {
    if (n_rows == 1)  // the common case, compiled without the inner loop
        update_rows(stride, table, 1, rows, weights, half_norms, out, maxima);
    else
        update_rows(stride, table, n_rows, rows, weights, half_norms, out, maxima);
}

size_t collect(size_t stride, const float* table, const float* half_norms, float weight, float gain,
               float threshold, int32_t parent, Candidate* candidates) {
    const Lane limit = Lane{} + threshold;
    Candidate* end = candidates;
    for (size_t k = 0; k < stride; k += 16) {
        Lane total[kRowLanes];
        uint32_t reached = 0;
        for (size_t v = 0; v < kRowLanes; v++) {
            const size_t at = k + v * kLaneFloats;
            total[v] = (load(table + at) - load(half_norms + at)) * weight + gain;
            reached |= mask_bits(total[v] >= limit) << (v * kLaneFloats);
        }
        for (; reached; reached &= reached - 1) {
            const size_t lane = size_t(__builtin_ctz(reached));
            *end++ = {total[lane / kLaneFloats][lane % kLaneFloats], parent, int32_t(k + lane)};
        }
    }
    return size_t(end - candidates);
}

/// A lower bound on the `rank`-th largest of n values (n a multiple of 16), exact when none are equal.
/// Takes out the largest `rank` − 1 times; overwrites the values.
float rank_bound(size_t n, float* values, size_t rank) {
    for (;;) {
        Lane best = load(values);
        for (size_t i = kLaneFloats; i < n; i += kLaneFloats) best = larger(load(values + i), best);
        float largest = best[0];
        for (size_t i = 1; i < kLaneFloats; i++) largest = best[i] > largest ? best[i] : largest;
        if (--rank == 0) return largest;
        const Lane limit = Lane{} + largest;
        for (size_t i = 0; i < n; i += kLaneFloats) {
            const Lane value = load(values + i);
            store(values + i, value == limit ? Lane{} - __builtin_inff() : value);
        }
    }
}
