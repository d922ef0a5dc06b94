"""The closed-form updates of codebooks and scales for given codes; `least_squares` has the formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from drqfaiss import _core

GRADIENT_STEPS = 8  # Steps of conjugate gradients, which start from the last codebooks.
RELAXATION = 0.9  # How far an update goes beyond its solution: it halves the rounds; 2 would diverge.
SETTLING = 3  # So many last rounds go no further than the solution.
RIDGE = 1e-6  # Times the number of vectors.
SCALE_RIDGE = 1e-4  # Times the first level's weight in an average dimension.
SCALE_CEILING = 4.0
SMALLEST_SCALE = 1e-12  # Times the first level's, where scales are geometric: float32 sees nothing smaller.
SCALE_FLOOR = 0.01  # Times the first level's: search needs positive scales, and one near 0 wastes its level.


class Levels(NamedTuple):
    """The codebooks of all levels, factored: level m has scales[m] ∘ bases[group[m]]."""

    bases: np.ndarray  # (G, K, d) float64
    group: np.ndarray  # (M,) ascending: which base a level has
    scales: np.ndarray  # (M, 1) or (M, d) float64; 1 at the first level of each base

    @property
    def starts(self) -> np.ndarray:
        """The first level of each base, (G,)."""
        return np.unique(self.group, return_index=True)[1]

    def normalised(self) -> Levels:
        """Return the same codebooks with scales that are 1 at the first level of each base."""
        first = self.scales[self.starts]
        return self._replace(bases=self.bases * first[:, None], scales=self.scales / first[self.group])

    def codebooks(self, bases: np.ndarray | None = None) -> np.ndarray:
        """Return the codebook of every level, (M, K, d) float32, of these or of other bases."""
        bases = self.bases if bases is None else bases
        return np.ascontiguousarray(self.scales[:, None] * bases[self.group], np.float32)


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


def update(statistics: Statistics, levels: Levels, tail: np.ndarray, scale: str, relaxation: float) -> Levels:
    """Solve for the codebooks, then the scales, and go `relaxation` times the step further.

    Args:
        statistics: of the codes.
        levels: where to start from.
        tail: array (M,). The weight w_m of each level.
        scale: {"geometric", "level", "vector"}.
        relaxation: 0 for the solution itself.
    """
    solved = solve_bases(statistics, levels, tail)
    fitted = solve_scales(statistics, levels._replace(bases=solved), tail, scale)
    # Scales are moved by factors: they stay positive, and geometric ones geometric.
    factor = np.clip(fitted / levels.scales, 0.5, 2)
    return levels._replace(
        bases=solved + relaxation * (solved - levels.bases), scales=fitted * factor**relaxation
    )


def relaxation_in(iteration: int, iterations: int) -> float:
    """Return the `relaxation` of an update that is one of so many, counted from 0."""
    return RELAXATION if iteration + SETTLING < iterations else 0.0


def solve_bases(statistics: Statistics, levels: Levels, tail: np.ndarray) -> np.ndarray:
    """Return the bases (G, K, d) of least loss for given codes and scales, starting from the last ones."""
    weighted_sums = tail[:, None, None] * levels.scales[:, None] * statistics.sums
    right = np.add.reduceat(weighted_sums, levels.starts)
    ridge = RIDGE * float(statistics.counts[0, :, 0].sum(dtype=np.float64))
    solve = _solve_at_once if levels.scales.shape[1] == 1 else _solve_by_dimension
    return solve(statistics, levels, tail, right, ridge)


def _solve_at_once(
    statistics: Statistics, levels: Levels, tail: np.ndarray, right: np.ndarray, ridge: float
) -> np.ndarray:
    """Solve with the one matrix that all dimensions share."""
    G, K, d = levels.bases.shape
    weights = np.minimum.outer(tail, tail) * levels.scales * levels.scales.T
    matrix = np.zeros((G, K, G, K))
    for (m, n), weight in np.ndenumerate(weights):
        matrix[levels.group[m], :, levels.group[n]] += weight * statistics.counts[m, :, n]
    matrix = matrix.reshape(G * K, G * K) + ridge * np.eye(G * K)
    return np.linalg.solve(matrix, right.reshape(G * K, d)).reshape(G, K, d)


def _solve_by_dimension(
    statistics: Statistics, levels: Levels, tail: np.ndarray, right: np.ndarray, ridge: float
) -> np.ndarray:
    """Solve with a matrix per dimension: too many to factorise, but one product serves them all."""
    M, K, d = statistics.sums.shape
    pairs = np.minimum.outer(tail, tail).astype(np.float32)[:, None, :, None]
    weighted = (pairs * statistics.counts).reshape(M * K, M * K)
    scales = levels.scales[:, None]

    def multiply(bases: np.ndarray) -> np.ndarray:
        met = (weighted @ levels.codebooks(bases).reshape(M * K, d)).reshape(M, K, d)
        return np.add.reduceat(scales * met, levels.starts) + ridge * bases

    uses = np.einsum("mkmk->mk", statistics.counts)[:, :, None]
    diagonal = np.add.reduceat(tail[:, None, None] * scales**2 * uses, levels.starts) + ridge
    return conjugate_gradients(multiply, right, levels.bases, diagonal)


def conjugate_gradients(
    multiply: Callable[[np.ndarray], np.ndarray],
    right: np.ndarray,
    solution: np.ndarray,
    diagonal: np.ndarray,
) -> np.ndarray:
    """Improve the solution of A_j c_j = right_j for every column j, preconditioned by A's diagonal.

    Columns are the last axis. Hestenes and Stiefel, "Methods of Conjugate Gradients for Solving Linear
    Systems", 1952.
    """
    tiny = 1e-30  # A column that is already solved divides 0 by it.
    axes = tuple(range(right.ndim - 1))
    residual = right - multiply(solution)
    direction = residual / diagonal
    size = (residual * direction).sum(axes)
    for _ in range(GRADIENT_STEPS):
        product = multiply(direction)
        step = size / np.maximum((direction * product).sum(axes), tiny)
        solution = solution + step * direction
        residual = residual - step * product
        conditioned = residual / diagonal
        size, before = (residual * conditioned).sum(axes), size
        direction = conditioned + size / np.maximum(before, tiny) * direction
    return solution


def solve_scales(statistics: Statistics, levels: Levels, tail: np.ndarray, scale: str) -> np.ndarray:
    """Return the scales of least loss for given codes and bases, in the shape of the last ones.

    The scale of each base's first level stays 1: the base has that freedom.
    """
    gram, right = scale_systems(statistics, levels, tail)
    if scale == "geometric":
        return best_geometric(gram[0], right[0], levels)
    scales = levels.scales.copy()
    free = np.setdiff1d(np.arange(len(scales)), levels.starts)
    # A dimension with hardly any variance says nothing about its scales: the ridge holds them where they are.
    ridge = SCALE_RIDGE * gram[:, :1, :1].mean(0, keepdims=True) + 1e-12
    matrix = gram[:, free[:, None], free] + ridge * np.eye(len(free))
    rest = right[:, free] - gram[:, free[:, None], levels.starts].sum(2)
    solved = np.linalg.solve(matrix, rest[:, :, None] + ridge * scales.T[:, free, None])
    scales[free] = np.clip(solved[:, :, 0].T, SCALE_FLOOR, SCALE_CEILING)
    return scales


def scale_systems(statistics: Statistics, levels: Levels, tail: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return G (D, M, M) and b (D, M), D = d for scales per dimension, else 1."""
    codebooks = levels.bases[levels.group]
    right = tail * (statistics.sums * codebooks).sum(1).T
    by_dimension = levels.scales.shape[1] > 1
    gram = _gram_by_dimension(statistics, codebooks) if by_dimension else _gram(statistics, levels)
    if not by_dimension:
        right = right.sum(0, keepdims=True)
    return np.minimum.outer(tail, tail) * (gram + gram.transpose(0, 2, 1)) / 2, right


def _gram(statistics: Statistics, levels: Levels) -> np.ndarray:
    """Return Σ_x ⟨c_m, c_n⟩ over the codewords that vectors have at levels m and n, (1, M, M)."""
    flat = levels.bases.reshape(-1, levels.bases.shape[2])
    K, group = levels.bases.shape[1], levels.group
    products = (flat @ flat.T).reshape(len(levels.bases), K, len(levels.bases), K)
    gram = [
        [(row[:, n] * products[group[m], :, group[n]]).sum() for n in range(len(group))]
        for m, row in enumerate(statistics.counts)
    ]
    return np.array(gram)[None]


def _gram_by_dimension(statistics: Statistics, codebooks: np.ndarray) -> np.ndarray:
    """Return the same sums for every dimension on its own, (d, M, M)."""
    M, _, d = codebooks.shape
    single = codebooks.astype(np.float32)
    gram = np.empty((d, M, M))
    for m in range(M):
        met = np.matmul(statistics.counts[m].swapaxes(0, 1), single)
        gram[:, m] = np.einsum("kd,nkd->dn", codebooks[m], met)
    return gram


def powers(levels: Levels) -> np.ndarray:
    """Return the exponents of geometric scales, (M,): the levels since the base's first."""
    return np.arange(len(levels.group)) - levels.starts[levels.group]


def nearest_geometric(levels: Levels) -> np.ndarray:
    """Return the geometric scales (M, 1) nearest to those of `levels` in their logarithms."""
    exponents = powers(levels)
    ratio = np.exp(np.log(levels.scales[:, 0]) @ exponents / max(exponents @ exponents, 1))
    return (ratio**exponents)[:, None]


def best_geometric(gram: np.ndarray, right: np.ndarray, levels: Levels) -> np.ndarray:
    """Minimise sᵀ G s − 2 bᵀ s over geometric scales of ratio ≤ 1, on a grid made finer around its best."""
    exponents = powers(levels)
    low, high = SCALE_FLOOR, 1.0
    for _ in range(4):
        ratios = np.linspace(low, high, 101)
        scales = ratios[:, None] ** exponents
        best = int(((scales @ gram * scales).sum(1) - 2 * scales @ right).argmin())
        low, high = ratios[max(best - 1, 0)], ratios[min(best + 1, 100)]
    smallest_ratio = SMALLEST_SCALE ** (1 / max(exponents.max(), 1))
    return (max(ratios[best], smallest_ratio) ** exponents)[:, None]
