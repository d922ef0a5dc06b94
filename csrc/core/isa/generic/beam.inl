// The steps of beam search over one row of K codewords; included once per instruction set, with Lane, Mask
// and mask_bits() defined. Multiply and add stay apart, so every width rounds alike.

constexpr size_t kLaneFloats = sizeof(Lane) / sizeof(float);
constexpr size_t kRowLanes = 16 / kLaneFloats;  // vectors per 16 floats, the unit rows are padded to

inline Lane load(const float* p) { return *reinterpret_cast<const UnalignedLane*>(p); }
inline void store(float* p, Lane v) { *reinterpret_cast<UnalignedLane*>(p) = v; }
inline Lane larger(Lane a, Lane b) { return a > b ? a : b; }
inline Lane all(float value) { return Lane{} + value; }

inline float largest_of(const Lane* lanes, size_t n) {
    Lane best = lanes[0];
    for (size_t v = 1; v < n; v++) best = larger(lanes[v], best);
    float largest = best[0];
    for (size_t i = 1; i < kLaneFloats; i++) largest = best[i] > largest ? best[i] : largest;
    return largest;
}

/// Floats [begin, end) of update_table, kUnit at a time.
template <size_t kUnit>
__attribute__((always_inline)) inline void update_span(size_t begin, size_t end, const float* table,
                                                       size_t n_rows, const float* const* rows,
                                                       const float* weights, const float* half_norms,
                                                       float* out, Lane* best) {
    constexpr size_t kLanes = kUnit / kLaneFloats;
    for (size_t k = begin; k < end; k += kUnit) {
        Lane value[kLanes];
        for (size_t v = 0; v < kLanes; v++) value[v] = load(table + k + v * kLaneFloats);
        for (size_t i = 0; i < n_rows; i++)
            for (size_t v = 0; v < kLanes; v++) value[v] -= load(rows[i] + k + v * kLaneFloats) * weights[i];
        for (size_t v = 0; v < kLanes; v++) {
            store(out + k + v * kLaneFloats, value[v]);
            Lane& lane = best[v % kRowLanes];
            lane = larger(value[v] - load(half_norms + k + v * kLaneFloats), lane);
        }
    }
}

float update_table(const BeamLevel& level, float gain, const float* table, size_t n_rows,
                   const float* const* rows, const float* weights, float* out, float* maxima) {
    Lane best[kRowLanes];
    for (Lane& lane : best) lane = all(-__builtin_inff());
    if (n_rows == 1) {  // the common case, compiled without the inner loop
        update_span<16>(0, level.stride, table, 1, rows, weights, level.half_norms, out, best);
    } else {
        const size_t whole = level.stride / 64 * 64;
        update_span<64>(0, whole, table, n_rows, rows, weights, level.half_norms, out, best);
        update_span<16>(whole, level.stride, table, n_rows, rows, weights, level.half_norms, out, best);
    }
    for (size_t v = 0; v < kRowLanes; v++) {
        best[v] = best[v] * level.weight + gain;
        store(maxima + v * kLaneFloats, best[v]);
    }
    return largest_of(best, kRowLanes);
}

size_t collect(const BeamLevel& level, float gain, const float* table, float threshold, int32_t parent,
               Candidate* candidates) {
    const Lane limit = all(threshold);
    Candidate* end = candidates;
    for (size_t k = 0; k < level.stride; k += 16) {
        Lane total[kRowLanes];
        uint32_t reached = 0;
        for (size_t v = 0; v < kRowLanes; v++) {
            const size_t at = k + v * kLaneFloats;
            total[v] = (load(table + at) - load(level.half_norms + at)) * level.weight + gain;
            reached |= mask_bits(total[v] >= limit) << (v * kLaneFloats);
        }
        for (; reached; reached &= reached - 1) {
            const size_t lane = size_t(__builtin_ctz(reached));
            *end++ = {total[lane / kLaneFloats][lane % kLaneFloats], parent, int32_t(k + lane)};
        }
    }
    return size_t(end - candidates);
}

float rank_bound(size_t n, const float* values, size_t rank) {
    float bound = __builtin_inff();
    for (; rank; rank--) {  // each round finds the largest value below the last one
        Lane best[kRowLanes];
        for (Lane& lane : best) lane = all(-__builtin_inff());
        const Lane limit = all(bound);
        for (size_t i = 0; i < n; i += 16)
            for (size_t v = 0; v < kRowLanes; v++) {
                const Lane value = load(values + i + v * kLaneFloats);
                best[v] = larger(value < limit ? value : all(-__builtin_inff()), best[v]);
            }
        bound = largest_of(best, kRowLanes);
    }
    return bound;
}

void add_beam(Kernels& kernels) {
    kernels.update_table = update_table;
    kernels.collect = collect;
    kernels.rank_bound = rank_bound;
}
