// Inner products of rows with columns; included once per instruction set inside its namespace, with Lane
// defined. GCC vector types let one text serve every width: multiply and add stay apart, so every width
// rounds alike.

/// Adds d more products to R × V vectors of sums; the sums start at zero where `first`.
template <int R, int V>
void product_tile(size_t d, const float* x, size_t ldx, size_t stride, const float* columns, bool first,
                  float* out, size_t ldo) {
    constexpr size_t W = sizeof(Lane) / sizeof(float);
    Lane sum[R][V];
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++)
            sum[r][v] = first ? Lane{} : *reinterpret_cast<const UnalignedLane*>(out + r * ldo + v * W);
    for (size_t j = 0; j < d; j++) {
        Lane column[V];
        for (int v = 0; v < V; v++)
            column[v] = *reinterpret_cast<const UnalignedLane*>(columns + j * stride + v * W);
        for (int r = 0; r < R; r++) {
            const float value = x[r * ldx + j];
            for (int v = 0; v < V; v++) sum[r][v] += column[v] * value;
        }
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) *reinterpret_cast<UnalignedLane*>(out + r * ldo + v * W) = sum[r][v];
}

/// V vectors' worth of columns for all n rows. With enough rows the columns are first packed side by side: in
/// place they lie a power of two apart and would push each other out of the cache.
template <int V>
void product_panel(size_t n, size_t d, const float* x, size_t ldx, size_t stride, const float* columns,
                   float* out, size_t ldo) {
    constexpr size_t kWidth = V * sizeof(Lane) / sizeof(float), kDepth = 128;
    const bool pack = n > kTileRows;
    float panel[kDepth * kWidth];
    for (size_t begin = 0; begin < d; begin += kDepth) {
        const size_t depth = d - begin < kDepth ? d - begin : kDepth;
        const float* from = columns + begin * stride;
        if (pack)
            for (size_t j = 0; j < depth; j++)
                __builtin_memcpy(panel + j * kWidth, from + j * stride, kWidth * sizeof(float));
        const float* source = pack ? panel : from;
        const size_t pitch = pack ? kWidth : stride;
        size_t i = 0;
        for (; i + kTileRows <= n; i += kTileRows)
            product_tile<kTileRows, V>(depth, x + i * ldx + begin, ldx, pitch, source, begin == 0,
                                       out + i * ldo, ldo);
        for (; i < n; i++)
            product_tile<1, V>(depth, x + i * ldx + begin, ldx, pitch, source, begin == 0, out + i * ldo,
                               ldo);
    }
}

void products(size_t n, size_t d, const float* x, size_t ldx, size_t stride, const float* columns, float* out,
              size_t ldo) {
    constexpr size_t W = sizeof(Lane) / sizeof(float);
    size_t k = 0;
    for (; k + kTileVectors * W <= stride; k += kTileVectors * W)
        product_panel<kTileVectors>(n, d, x, ldx, stride, columns + k, out + k, ldo);
    for (; k < stride; k += W) product_panel<1>(n, d, x, ldx, stride, columns + k, out + k, ldo);
}

void add_products(Kernels& kernels) { kernels.products = products; }
