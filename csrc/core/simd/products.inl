// Inner products of rows with columns; included once per SIMD level inside its namespace, with Lane defined.
// GCC vector types let one text serve every width: multiply and add stay apart, so every width rounds alike.

template <int R, int V>
void product_tile(size_t d, const float* x, size_t ldx, size_t stride, const float* columns, float* out, size_t ldo) {
    constexpr size_t W = sizeof(Lane) / sizeof(float);
    Lane sum[R][V];
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) sum[r][v] = Lane{};
    for (size_t j = 0; j < d; j++) {
        Lane column[V];
        for (int v = 0; v < V; v++) column[v] = *reinterpret_cast<const UnalignedLane*>(columns + j * stride + v * W);
        for (int r = 0; r < R; r++) {
            const float value = x[r * ldx + j];
            for (int v = 0; v < V; v++) sum[r][v] += column[v] * value;
        }
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) *reinterpret_cast<UnalignedLane*>(out + r * ldo + v * W) = sum[r][v];
}

template <int R>
void product_rows(size_t d, const float* x, size_t ldx, size_t stride, const float* columns, float* out, size_t ldo) {
    constexpr size_t W = sizeof(Lane) / sizeof(float);
    size_t k = 0;
    for (; k + kTileVectors * W <= stride; k += kTileVectors * W)
        product_tile<R, kTileVectors>(d, x, ldx, stride, columns + k, out + k, ldo);
    for (; k < stride; k += W) product_tile<R, 1>(d, x, ldx, stride, columns + k, out + k, ldo);
}

void products(size_t n, size_t d, const float* x, size_t ldx, size_t stride, const float* columns, float* out,
              size_t ldo) {
    size_t i = 0;
    for (; i + kTileRows <= n; i += kTileRows)
        product_rows<kTileRows>(d, x + i * ldx, ldx, stride, columns, out + i * ldo, ldo);
    for (; i < n; i++) product_rows<1>(d, x + i * ldx, ldx, stride, columns, out + i * ldo, ldo);
}
