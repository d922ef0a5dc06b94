"""Training without labels: beam-search encoding in turn with closed-form least squares.

The model is x ≈ mean + rotationᵀ Σ_m s_m ∘ C[b_m]: one codebook C of K codewords and a scale s_m per level.
For given codes b it is linear in C and linear in s, so each has a closed-form update. Both need the vectors
only through two statistics: how often two codewords meet (counts), the sum of a codeword's vectors (sums).

    loss = Σ_L α_L Σ_x ‖x − x̂_L‖²                      α_L: the weight of the prefix of L levels
    A C = B,  A = Σ_mn w_mn s_m s_n counts_mn,  B = Σ_m w_mm s_m sums_m,  w_mn = Σ_{L > max(m, n)} α_L
    G s = b,  G_mn = w_mn tr(Cᵀ counts_mn C),           b_m = w_mm tr(Cᵀ sums_m)

With a scale per dimension the same two systems hold in every dimension on its own. Vectors are centred, and
rotated to their principal axes for scales per dimension, before any of this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check, _core

SCALES = ("geometric", "level", "vector")
DEFAULT_PREFIX_POWER = 4  # α_L = (L / M)^4: short prefixes stay useful, the whole code hardly loses
START_ITERATIONS = 8  # of k-means; the codebook changes a lot afterwards
RELAXATION = 0.9  # how far each update goes beyond its solution: halves the iterations; 2 diverges
SETTLING = 3  # the last iterations do without
GRADIENT_STEPS = 8  # of conjugate gradients; they start from the last codebook
RIDGE = 1e-6  # of the number of vectors
SCALE_RIDGE = 1e-4  # of the first level's weight in an average dimension
SCALE_CEILING = 4.0
SCALE_FLOOR = 0.01  # of the first level's: search needs positive scales, and a scale near 0 wastes its level
MAX_COUNT_BYTES = 2**31


class Model(NamedTuple):
    """The trained arrays, as Quantizer takes them."""

    codebook: np.ndarray  # (K, d) float32
    scales: np.ndarray  # (M,) or (M, d) float32
    mean: np.ndarray  # (d,) float32
    rotation: np.ndarray | None  # (d, d) float32


def train(
    x: ArrayLike,
    *,
    levels: int = 8,
    bits: int = 8,
    scale: str = "level",
    prefix_weights: Mapping[int, float] | None = None,
    iterations: int = 20,
    beam: int = 5,
    seed: int = 0,
    max_vectors: int = 65_536,
    progress: bool = True,
) -> Model:
    """Train one codebook and its scales.

    The result is the same bit for bit for a seed, as long as the number of threads is the same.

    Args:
        x: array (n, d), float32. Finite, at least 2**bits vectors.
        levels: Levels M of the full code; levels * 2**bits is at most 23170, for memory.
        bits: Bits per level; the codebook has K = 2**bits codewords.
        scale: {"geometric", "level", "vector"}. One ratio (s_m = s^m), a scale per level, or a scale per
            level and dimension after a rotation: the most accurate, the slowest to train and encode.
        prefix_weights: Loss weight of each code length, {L: weight}; lengths left out have weight 0. None
            weighs every length L by (L / levels)**4; {levels: 1} trains for the full code only.
        iterations: Rounds of encoding and solving.
        beam: Width of the beam search in training.
        seed: For the sample, the start and re-seeded codewords.
        max_vectors: Of more vectors than that, a random sample is used; at least 2**bits.
        progress: Whether to show a line on stderr, if that is a terminal.

    Raises:
        TypeError, ValueError: An argument is not as above; the message names it and what was expected.
    """
    x = _check.floats("x", x, 2)
    _check.finite("x", x)
    options = {"iterations": iterations, "beam": beam, "seed": seed, "max_vectors": max_vectors}
    check_options(levels, bits, {"scale": scale, **options})
    check_size(levels, bits)
    K = 2**bits
    if len(x) < K:
        raise ValueError(f"x: {len(x)} training vectors, expected at least the {K} codewords of a level")
    weights = pair_weights(levels, prefix_weights)
    rng = np.random.default_rng(seed)
    x, mean, unit, rotation = prepare(x, max_vectors, rotate=scale == "vector", rng=rng)
    codebook, scales = start(x, levels, K, scale, seed)
    for iteration in with_progress(iterations, progress):
        codes = _core.encode(x, scaled_codebooks(codebook, scales), beam)
        relaxation = RELAXATION if iteration + SETTLING < iterations else 0.0
        codebook, scales = update(Statistics.of(x, codes, K), codebook, scales, weights, scale, relaxation)
        if iteration + 1 < iterations:
            reseed_unused(codebook, codes, x, rng)
    scales = scales if scale == "vector" else scales[:, 0]
    return Model((codebook * unit).astype(np.float32), scales.astype(np.float32), mean, rotation)


def check_options(levels: int, bits: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of `train`, of which any may be missing, with numbers as Python's own.

    Raises:
        TypeError, ValueError: Naming the first that is out of range.
    """
    levels, bits = _check.integer("levels", levels, 1), _check.integer("bits", bits, 1, 16)
    checked = dict(options)
    if checked.get("scale", SCALES[0]) not in SCALES:
        raise ValueError(f"scale: got {checked['scale']!r}, expected one of {', '.join(map(repr, SCALES))}")
    if "prefix_weights" in checked:
        checked["prefix_weights"] = check_prefix_weights(levels, checked["prefix_weights"])
    ranges = {"iterations": (1,), "beam": (1, 2**31 - 1), "seed": (0, 2**31 - 1), "max_vectors": (2**bits,)}
    for name in ranges.keys() & checked.keys():
        checked[name] = _check.integer(name, checked[name], *ranges[name])
    return checked


def check_size(levels: int, bits: int) -> None:
    """Raise ValueError if the counts of codeword pairs would take too much memory."""
    codewords, most = levels * 2**bits, int((MAX_COUNT_BYTES / 4) ** 0.5)
    if codewords > most:
        raise ValueError(
            f"levels * 2**bits: {levels} * {2**bits} = {codewords}, expected at most {most} in training"
        )


def check_prefix_weights(levels: int, prefix_weights: Mapping[int, float]) -> dict[int, float]:
    """Return the weight of each length; raise TypeError or ValueError for bad ones."""
    if not isinstance(prefix_weights, Mapping):
        raise TypeError(f"prefix_weights: got {prefix_weights!r}, expected a dict from levels to weights")
    checked = {
        _check.integer("prefix_weights", length, 1, levels): _check.number("prefix_weights", weight)
        for length, weight in prefix_weights.items()
    }
    for length, weight in checked.items():
        if not 0 <= weight < np.inf:
            raise ValueError(
                f"prefix_weights: {weight} for length {length}, expected a finite weight of at least 0"
            )
    if not checked.get(levels, 0) > 0:
        raise ValueError(f"prefix_weights: no weight for all {levels} levels, expected one above 0")
    return checked


def pair_weights(levels: int, prefix_weights: Mapping[int, float] | None) -> np.ndarray:
    """Return w_mn = Σ_{L > max(m, n)} α_L, (M, M), with w_00 = 1; raise as `check_prefix_weights`."""
    if prefix_weights is None:
        prefix_weights = {L: (L / levels) ** DEFAULT_PREFIX_POWER for L in range(1, levels + 1)}
    alpha = np.zeros(levels)
    for length, weight in check_prefix_weights(levels, prefix_weights).items():
        alpha[length - 1] = weight
    tail = np.cumsum(alpha[::-1])[::-1] / alpha.sum()
    return np.minimum.outer(tail, tail)


def prepare(
    x: np.ndarray, max_vectors: int, rotate: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray | None]:
    """Sample, centre, rotate and divide by the root mean square: return x, mean, that unit and rotation."""
    if len(x) > max_vectors:
        x = x[np.sort(rng.choice(len(x), max_vectors, replace=False))]
    mean = x.mean(0, dtype=np.float64).astype(np.float32)
    x = x - mean
    unit = float(np.sqrt(np.square(x, dtype=np.float64).mean())) or 1.0
    x /= np.float32(unit)
    if not rotate:
        return x, mean, unit, None
    rotation = principal_axes(x)
    return np.ascontiguousarray(x @ rotation.T), mean, unit, rotation


def principal_axes(x: np.ndarray) -> np.ndarray:
    """Return the eigenvectors of the covariance of centred x as rows, largest first, (d, d) float32."""
    _, vectors = np.linalg.eigh((x.T @ x).astype(np.float64))
    return np.ascontiguousarray(vectors.T[::-1], np.float32)


def scaled_codebooks(codebook: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return the codebook of every level, (M, K, d) float32, for scales (M, 1) or (M, d)."""
    return np.ascontiguousarray(scales[:, None] * codebook, np.float32)


def start(x: np.ndarray, levels: int, K: int, scale: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Start from the k-means codebook (K, d); level by level, fit scales (M, 1 or d) to the residuals."""
    kmeans = faiss.Kmeans(x.shape[1], K, niter=START_ITERATIONS, seed=int(seed), min_points_per_centroid=1)
    kmeans.train(x)
    codebook = kmeans.centroids.astype(np.float64)
    axis = 0 if scale == "vector" else None
    spread = np.maximum(np.square(x).mean(axis), 1e-20)
    found, residual = [], x
    for _ in range(levels):
        guess = np.atleast_1d(np.sqrt(np.square(residual).mean(axis) / spread))
        level = scaled_codebooks(codebook, guess[None])
        chosen = level[0, _core.encode(residual, level, 1)[:, 0]]
        gain = (chosen * residual).sum(axis) / np.maximum(np.square(chosen).sum(axis), 1e-20)
        found.append(np.maximum(guess * gain, SCALE_FLOOR))
        residual = residual - (gain * chosen).astype(np.float32)
    scales = np.array(found, np.float64)
    codebook, scales = codebook * scales[0], scales / scales[0]
    return codebook, nearest_geometric(scales) if scale == "geometric" else scales


class Statistics(NamedTuple):
    """What the closed-form updates need of the vectors and their codes."""

    counts: np.ndarray  # (M, K, M, K) float32: vectors with codeword k at level m and codeword l at level n
    sums: np.ndarray  # (M, K, d) float64: the sum of the vectors with codeword k at level m

    @classmethod
    def of(cls, x: np.ndarray, codes: np.ndarray, K: int) -> Statistics:
        """Count and sum x (n, d) by its codes (n, M)."""
        M = codes.shape[1]
        counts = np.empty((M, K, M, K), np.float32)
        for m, n in zip(*np.triu_indices(M), strict=True):
            pair = np.bincount(codes[:, m] * K + codes[:, n], minlength=K * K).reshape(K, K)
            counts[m, :, n] = pair
            counts[n, :, m] = pair.T
        return cls(counts, _core.code_sums(x, codes, K))


def update(
    statistics: Statistics,
    codebook: np.ndarray,
    scales: np.ndarray,
    weights: np.ndarray,
    scale: str,
    relaxation: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Solve for the codebook, then the scales, and go `relaxation` times the step further."""
    solved = solve_codebook(statistics, codebook, scales, weights)
    fitted = solve_scales(statistics, solved, scales, weights, scale)
    # Scales are moved by factors: they stay positive, and geometric ones geometric.
    factor = np.clip(fitted / scales, 0.5, 2)
    return solved + relaxation * (solved - codebook), fitted * factor**relaxation


def solve_codebook(
    statistics: Statistics, codebook: np.ndarray, scales: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the codebook (K, d) of least loss for given codes and scales, starting from the last one."""
    M, K, d = statistics.sums.shape
    right = (weights.diagonal()[:, None, None] * scales[:, None] * statistics.sums).sum(0)
    ridge = RIDGE * float(statistics.counts[0, :, 0].sum(dtype=np.float64))
    if scales.shape[1] == 1:
        matrix = np.tensordot(weights * scales * scales.T, statistics.counts, axes=((0, 1), (0, 2)))
        return np.linalg.solve(matrix + ridge * np.eye(K), right)

    # One matrix per dimension: too many to factorise, but one product serves them all.
    weighted = (weights.astype(np.float32)[:, None, :, None] * statistics.counts).reshape(M * K, M * K)

    def multiply(c: np.ndarray) -> np.ndarray:
        met = weighted @ scaled_codebooks(c, scales).reshape(M * K, d)
        return (scales[:, None] * met.reshape(M, K, d)).sum(0) + ridge * c

    uses = np.einsum("mkmk->mk", statistics.counts)
    diagonal = np.einsum("m,md,mk->kd", weights.diagonal(), scales**2, uses) + ridge
    return conjugate_gradients(multiply, right, codebook, diagonal)


def conjugate_gradients(
    multiply: Callable[[np.ndarray], np.ndarray],
    right: np.ndarray,
    solution: np.ndarray,
    diagonal: np.ndarray,
) -> np.ndarray:
    """Improve the solution of A_j c_j = right_j for every column j, preconditioned by A's diagonal.

    Hestenes and Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems", 1952.
    """
    tiny = 1e-30  # a column that is already solved divides 0 by it
    residual = right - multiply(solution)
    direction = residual / diagonal
    size = (residual * direction).sum(0)
    for _ in range(GRADIENT_STEPS):
        product = multiply(direction)
        step = size / np.maximum((direction * product).sum(0), tiny)
        solution = solution + step * direction
        residual = residual - step * product
        conditioned = residual / diagonal
        size, before = (residual * conditioned).sum(0), size
        direction = conditioned + size / np.maximum(before, tiny) * direction
    return solution


def solve_scales(
    statistics: Statistics, codebook: np.ndarray, scales: np.ndarray, weights: np.ndarray, scale: str
) -> np.ndarray:
    """Return the scales of least loss for given codes and codebook, in the shape of `scales`.

    The first level's scale stays 1: the codebook has that freedom.
    """
    gram, right = scale_systems(statistics, codebook, weights)
    if scale != "vector":
        gram, right = gram.sum(0, keepdims=True), right.sum(0, keepdims=True)
    if scale == "geometric":
        return best_geometric(gram[0], right[0])
    # A dimension with hardly any variance says nothing about its scales: the ridge holds them where they are.
    ridge = SCALE_RIDGE * gram[:, :1, :1].mean(0, keepdims=True) + 1e-12
    later = gram[:, 1:, 1:] + ridge * np.eye(len(scales) - 1)
    wanted = (right - gram[:, :, 0])[:, 1:, None] + ridge * scales.T[:, 1:, None]
    solved = np.linalg.solve(later, wanted)[:, :, 0].T
    return np.concatenate([np.ones_like(scales[:1]), np.clip(solved, SCALE_FLOOR, SCALE_CEILING)])


def scale_systems(
    statistics: Statistics, codebook: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return G (d, M, M) and b (d, M) of every dimension."""
    M, K, d = statistics.sums.shape
    c = codebook.astype(np.float32)
    gram = np.empty((d, M, M))
    for m in range(M):
        met = (statistics.counts[m].reshape(K * M, K) @ c).reshape(K, M, d)
        gram[:, m] = np.einsum("kd,knd->dn", codebook, met) * weights[m]
    gram = (gram + gram.transpose(0, 2, 1)) / 2
    return gram, weights.diagonal() * (statistics.sums * codebook).sum(1).T


def nearest_geometric(scales: np.ndarray) -> np.ndarray:
    """Return the geometric scales (M, 1) nearest to scales (M, 1) in their logarithms."""
    powers = np.arange(len(scales))
    ratio = np.exp(np.log(scales[:, 0]) @ powers / max(powers @ powers, 1))
    return (ratio**powers)[:, None]


def best_geometric(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Minimise sᵀ G s − 2 bᵀ s over scales s^m, 0 < s ≤ 1, on a grid made finer around its best point."""
    powers = np.arange(len(right))
    low, high = SCALE_FLOOR, 1.0
    for _ in range(4):
        ratios = np.linspace(low, high, 101)
        scales = ratios[:, None] ** powers
        best = int(((scales @ gram * scales).sum(1) - 2 * scales @ right).argmin())
        low, high = ratios[max(best - 1, 0)], ratios[min(best + 1, 100)]
    return scales[best][:, None]


def reseed_unused(codebook: np.ndarray, codes: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> None:
    """Put random vectors in the place of codewords that no level uses."""
    unused = np.flatnonzero(np.bincount(codes.ravel(), minlength=len(codebook)) == 0)
    codebook[unused] = x[rng.choice(len(x), len(unused), replace=False)]


def with_progress(iterations: int, shown: bool) -> Iterator[int]:
    """Count iterations, with a line on stderr if that is a terminal."""
    shown = shown and sys.stderr.isatty()
    for iteration in range(iterations):
        if shown:
            print(f"\rtraining: iteration {iteration + 1}/{iterations}", end="", file=sys.stderr, flush=True)
        yield iteration
    if shown:
        print(file=sys.stderr)
