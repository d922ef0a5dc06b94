// Norms of reconstructions; included once per instruction set, see products.inl. Sixteen partial sums,
// whatever the register width, keep the rounding the same everywhere.

float norm_of_sum(const SumOfRows& sum, const float* other) {
    constexpr size_t kSums = 16, W = sizeof(Lane) / sizeof(float);
    Lane sums[kSums / W] = {};
    const float* const* rows = sum.rows + sum.whole;  // of the part
    const float* scales = sum.scales + sum.whole;
    size_t j = 0;
    for (size_t p = 0; p < sum.n_parts; p++) {
        const SumOfRows::Part& part = sum.parts[p];
        for (size_t own = 0; j + kSums <= part.end; j += kSums, own += kSums)
            for (size_t v = 0; v < kSums / W; v++) {
                Lane x{};
                for (size_t m = 0; m < sum.whole; m++)
                    x += *reinterpret_cast<const UnalignedLane*>(sum.rows[m] + j + v * W) * sum.scales[m];
                for (size_t m = 0; m < part.rows; m++)
                    x += *reinterpret_cast<const UnalignedLane*>(rows[m] + own + v * W) * scales[m];
                sums[v] += x * (other ? x + *reinterpret_cast<const UnalignedLane*>(other + j + v * W) : x);
            }
        rows += part.rows;
        scales += part.rows;
    }
    float total = 0;
    for (size_t i = 0; i < kSums; i++) total += sums[i / W][i % W];
    for (; j < sum.parts[sum.n_parts - 1].end; j++) {
        float x = 0;
        for (size_t m = 0; m < sum.whole; m++) x += sum.rows[m][j] * sum.scales[m];
        total += x * (other ? x + other[j] : x);
    }
    return total;
}

void add_norms(Kernels& kernels) { kernels.norm_of_sum = norm_of_sum; }
