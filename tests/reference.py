"""Plain NumPy versions of what the core computes, in float64."""

import numpy as np


def pack_codes(codes: np.ndarray, nbits: int) -> np.ndarray:
    """Level indices (n, M) as packed rows (n, ⌈M·nbits/8⌉) uint8, least significant bit first."""
    bits = (codes[:, :, None] >> np.arange(nbits)) & 1
    return np.packbits(
        bits.reshape(len(codes), codes.shape[1] * nbits).astype(np.uint8), axis=1, bitorder="little"
    )


def decode(codebooks: np.ndarray, codes: np.ndarray, levels: int) -> np.ndarray:
    """Reconstructions (n, d) from the first levels of codes (n, M); codebooks are (M, K, d)."""
    return sum(codebooks[m, codes[:, m]].astype(np.float64) for m in range(levels))


def distances(x: np.ndarray, reconstructions: np.ndarray, metric: str) -> np.ndarray:
    """Squared L2 distances or inner products, (n, N)."""
    x = x.astype(np.float64)
    if metric == "ip":
        return x @ reconstructions.T
    return ((x[:, None] - reconstructions[None]) ** 2).sum(-1)


def nearest(x, reconstructions, k, metric):
    """The k nearest: distances and ids (n, k), ties by id."""
    D = distances(x, reconstructions, metric)
    ids = np.argsort(D if metric == "l2" else -D, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(D, ids, 1), ids


def distance_scale(x, reconstructions, codebooks) -> float:
    """Size of the numbers that a distance is computed from: float rounding is a small share of it."""
    longest = (
        np.linalg.norm(reconstructions, axis=1).max(initial=0) + np.linalg.norm(codebooks[0], axis=1).max()
    )
    return float((np.linalg.norm(x, axis=1).max() + longest) ** 2)


def assert_neighbours(found, expected, scale):
    """Same distances up to float rounding of numbers of size `scale`; ids may differ only among such ties."""
    (D, ids), (D_expected, ids_expected) = found, expected
    tolerance = 4e-6 * scale
    np.testing.assert_allclose(D, D_expected, rtol=0, atol=tolerance)
    for row in np.flatnonzero((ids != ids_expected).any(1)):
        for j in np.flatnonzero(ids[row] != ids_expected[row]):
            gaps = np.abs(D_expected[row] - D_expected[row, j])
            gaps[j] = np.inf
            assert gaps.min() <= 2 * tolerance or j == len(gaps) - 1, (row, j, ids[row], ids_expected[row])
