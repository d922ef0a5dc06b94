"""Training without labels: beam-search encoding in turn with closed-form least squares.

The model is x ≈ mean + rotationᵀ Σ_m s_m ∘ C_m[b_m] with one codebook C_m = C of K codewords and a scale s_m
per level; the first levels may have codebooks of their own. For given codes b it is linear in the codebooks
and linear in the scales, so each has a closed-form update. Both need the vectors only through two statistics:
how often two codewords meet (counts), the sum of a codeword's vectors (sums). With one codebook:

    loss = Σ_L α_L Σ_x ‖x − x̂_L‖²                      α_L: the weight of the prefix of L levels
    A C = B,  A = Σ_mn w_mn s_m s_n counts_mn,  B = Σ_m w_m s_m sums_m,  w_mn = Σ_{L > max(m, n)} α_L
    G s = b,  G_mn = w_mn tr(Cᵀ counts_mn C),           b_m = w_m tr(Cᵀ sums_m),        w_m = w_mm

With a scale per dimension the same two systems hold in every dimension on its own. Vectors are centred, and
rotated to their principal axes for scales per dimension, before any of this.
"""

from __future__ import annotations

import math

import faiss
import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check, _core
from drqfaiss._least_squares.model import Group, Model
from drqfaiss._least_squares.options import TrainingOptions, check_size, require_vectors
from drqfaiss._least_squares.prefixes import gain_weights, tail_weights
from drqfaiss._least_squares.solving import (
    SCALE_FLOOR,
    Levels,
    Statistics,
    nearest_geometric,
    relaxation_in,
    update,
)
from drqfaiss._progress import bar

OUTLYING, INLYING = 30.0, 0.95  # `inlying` says what they are.
START_ITERATIONS = 8  # Iterations of k-means: few, as the codebook changes a lot afterwards.


def train(x: ArrayLike, levels: int, bits: int, options: TrainingOptions) -> Model:
    """Train one codebook, or those of the first levels and a shared one, and the scales.

    The result is the same bit for bit for a seed, as long as the number of threads is the same.

    Args:
        x: array (n, d), float32. Finite, at least 2**bits vectors.
        levels: Levels M of the full code; levels * 2**bits is at most 23170, for memory.
        bits: Bits per level; the codebook has K = 2**bits codewords.
        options: How to train.

    Raises:
        TypeError, ValueError: An argument is not as above; the message names it and what was expected.
    """
    x = _check.floats("x", x, 2)
    _check.finite("x", x)
    options = options.for_shape(levels, bits)
    check_size(levels, bits)
    K, work, scale = 2**bits, options.work, options.scale
    require_vectors(len(x), bits)
    tail, gains = tail_weights(levels, options.prefix_weights), gain_weights(levels, options.prefix_weights)
    rng = np.random.default_rng(options.seed)
    x, mean, unit, rotation = prepare(x, max(work.max_vectors, K), rotate=scale == "vector", rng=rng)
    group = np.minimum(np.arange(levels), options.own or 0)
    fitted = start(x, group, K, scale, options.seed)
    with bar("training", "iterations", work.iterations, shown=options.progress) as shown:
        for iteration in range(work.iterations):
            codes = _core.encode(x, fitted.codebooks(), work.beam, gains)
            relaxation = relaxation_in(iteration, work.iterations)
            fitted = update(Statistics.of(x, codes, K), fitted, tail, scale, relaxation)
            if iteration + 1 < work.iterations:
                reseed_unused(fitted, codes, x, rng)
            shown.update()
    groups = tuple(Group(base) for base in (fitted.bases * unit).astype(np.float32))
    scales = (fitted.scales if scale == "vector" else fitted.scales[:, 0]).astype(np.float32)
    return Model(groups, group, scales, mean, rotation)


def prepare(
    x: np.ndarray, max_vectors: int, rotate: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray | None]:
    """Sample, centre, rotate and divide by the root mean square: return x, mean, that unit and rotation."""
    x = sample(x, max_vectors, rng)
    power = power_of_two(x)
    x, mean = centred(x * np.float32(1 / power))
    unit = float(np.sqrt(np.square(x, dtype=np.float64).mean())) or 1.0
    x /= np.float32(unit)
    mean, unit = mean * np.float32(power), unit * power
    if not rotate:
        return x, mean, unit, None
    rotation = principal_axes(x)
    return np.ascontiguousarray(x @ rotation.T), mean, unit, rotation


def sample(x: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return at most so many of the vectors, drawn at random and in their order."""
    return x if len(x) <= most else x[np.sort(rng.choice(len(x), most, replace=False))]


def power_of_two(x: np.ndarray) -> float:
    """Return what to count values in whose squares or differences are no floats; 1 for ordinary ones."""
    largest = float(np.abs(x).max(initial=0))
    ordinary = largest == 0 or 2.0**-60 < largest < 2.0**60
    return 1.0 if ordinary else 2.0 ** max(math.frexp(largest)[1] - 1, -100)


def centred(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x less its mean, and the mean, both float32, with vectors that lie far out replaced by others.

    A vector far out would have codewords of its own, at the cost of all others: they would lie beside the
    mean, and the shared codebook would hold numbers of two sizes. The mean is moved by what lies far out, so
    it is taken again without.
    """
    inliers = x
    while True:
        mean = inliers.mean(0, dtype=np.float64).astype(np.float32)
        differences = inliers - mean
        near = inlying(differences)
        if near.all():
            break
        inliers = inliers[near]
    missing = len(x) - len(inliers)
    return (np.concatenate([differences, differences[:missing]]) if missing else differences), mean


def inlying(x: np.ndarray) -> np.ndarray:
    """Return which of centred vectors are at most OUTLYING times as long as 95 % of them, (n,) bool."""
    squares = np.square(x, dtype=np.float64).sum(1)
    limit = OUTLYING**2 * np.quantile(squares, INLYING)
    return (squares <= limit) | (limit == 0)


def principal_axes(x: np.ndarray) -> np.ndarray:
    """Return the eigenvectors of the covariance of centred x as rows, largest first, (d, d) float32."""
    _, vectors = np.linalg.eigh((x.T @ x).astype(np.float64))
    return np.ascontiguousarray(vectors.T[::-1], np.float32)


def start(x: np.ndarray, group: np.ndarray, K: int, scale: str, seed: int) -> Levels:
    """Start level by level from residuals: k-means for each base, scales (M, 1 or d) by its fit to them."""
    axis = 0 if scale == "vector" else None
    bases: list[np.ndarray] = []
    scales: list[np.ndarray] = []
    residual = x
    for g in group:
        spread = np.maximum(np.square(residual).mean(axis), 1e-20)
        if g == len(bases):
            bases.append(clustered(residual, K, seed))
            first_spread = spread
        guess = np.atleast_1d(np.sqrt(spread / first_spread))
        codebook = np.ascontiguousarray(guess * bases[g], np.float32)
        chosen = codebook[_core.encode(residual, codebook[None], 1)[:, 0]]
        gain = (chosen * residual).sum(axis) / np.maximum(np.square(chosen).sum(axis), 1e-20)
        scales.append(np.maximum(guess * gain, SCALE_FLOOR))
        residual = residual - (gain * chosen).astype(np.float32)
    levels = Levels(np.array(bases), group, np.array(scales, np.float64)).normalised()
    return levels._replace(scales=nearest_geometric(levels)) if scale == "geometric" else levels


def clustered(x: np.ndarray, K: int, seed: int) -> np.ndarray:
    """Return the k-means codebook (K, d) float64."""
    kmeans = faiss.Kmeans(x.shape[1], K, niter=START_ITERATIONS, seed=int(seed), min_points_per_centroid=1)
    kmeans.train(x)
    return kmeans.centroids.astype(np.float64)


def reseed_unused(levels: Levels, codes: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> None:
    """Put random vectors, less what the levels before explain, in the place of codewords nobody uses."""
    codebooks = levels.codebooks()
    for g, first in enumerate(levels.starts):
        used = np.bincount(codes[:, levels.group == g].ravel(), minlength=codebooks.shape[1])
        unused = np.flatnonzero(used == 0)
        rows = rng.choice(len(x), len(unused), replace=False)
        explained = sum(codebooks[m, codes[rows, m]] for m in range(first))
        levels.bases[g, unused] = x[rows] - explained
