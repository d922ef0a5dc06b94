// Norms of reconstructions; included once per instruction set, see products.inl. Sixteen partial sums,
// whatever the register width, keep the rounding the same everywhere.

float weighted_sum_norm(size_t d, size_t levels, const float* const* codewords, const float* scale,
                        const float* other) {
    constexpr size_t kSums = 16, W = sizeof(Lane) / sizeof(float);
    Lane sums[kSums / W] = {};
    size_t j = 0;
    for (; j + kSums <= d; j += kSums)
        for (size_t v = 0; v < kSums / W; v++) {
            Lane x{};
            for (size_t m = 0; m < levels; m++)
                x += *reinterpret_cast<const UnalignedLane*>(codewords[m] + j + v * W) * scale[m];
            sums[v] += x * (other ? x + *reinterpret_cast<const UnalignedLane*>(other + j + v * W) : x);
        }
    float total = 0;
    for (size_t i = 0; i < kSums; i++) total += sums[i / W][i % W];
    for (; j < d; j++) {
        float x = 0;
        for (size_t m = 0; m < levels; m++) x += codewords[m][j] * scale[m];
        total += x * (other ? x + other[j] : x);
    }
    return total;
}

void add_norms(Kernels& kernels) { kernels.weighted_sum_norm = weighted_sum_norm; }
