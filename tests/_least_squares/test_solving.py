"""The closed-form updates against plain least squares over all vectors."""

import numpy as np
import pytest

from drqfaiss._least_squares import solving
from drqfaiss._least_squares.solving import Levels, Statistics

M, K, D = 4, 5, 3
TAIL = np.array([1.0, 0.8, 0.5, 0.2])


def problem(own_first, vector):
    """Vectors, random codes, and levels to start from."""
    rng = np.random.default_rng(0)
    group = np.minimum(np.arange(M), int(own_first))
    x = rng.standard_normal((400, D)).astype(np.float32)
    codes = rng.integers(0, K, (400, M)).astype(np.int32)
    scales = rng.uniform(0.3, 1, (M, D if vector else 1))
    scales[np.unique(group, return_index=True)[1]] = 1
    return x, codes, Levels(rng.standard_normal((1 + own_first, K, D)), group, scales)


def loss(x, codes, levels):
    """Σ_L α_L ‖x − x̂_L‖², the weights of prefixes from the tail weights."""
    alpha = TAIL - np.append(TAIL[1:], 0)
    parts = [levels.scales[m] * levels.bases[levels.group[m]][codes[:, m]] for m in range(M)]
    return sum(a * np.square(x - sum(parts[: L + 1])).sum() for L, a in enumerate(alpha))


def is_minimum(x, codes, levels, change):
    """Whether random small changes of a part of the levels all raise the loss."""
    rng = np.random.default_rng(1)
    here = loss(x, codes, levels)
    return all(loss(x, codes, change(levels, rng)) > here for _ in range(20))


@pytest.mark.parametrize("own_first", [False, True])
@pytest.mark.parametrize("vector", [False, True])
def test_solved_bases_have_the_least_loss(own_first, vector):
    x, codes, levels = problem(own_first, vector)
    statistics = Statistics.of(x, codes, K)
    for _ in range(4):  # conjugate gradients take a few steps each time
        levels = levels._replace(bases=solving.solve_bases(statistics, levels, TAIL))

    def change(levels, rng):
        return levels._replace(bases=levels.bases + 0.05 * rng.standard_normal(levels.bases.shape))

    assert is_minimum(x, codes, levels, change)


@pytest.mark.parametrize("own_first", [False, True])
@pytest.mark.parametrize("vector", [False, True])
def test_solved_scales_have_the_least_loss(own_first, vector, monkeypatch):
    monkeypatch.setattr(solving, "SCALE_FLOOR", -9.0)  # random codes want scales near 0, of either sign
    x, codes, levels = problem(own_first, vector)
    scale = "vector" if vector else "level"
    statistics = Statistics.of(x, codes, K)
    levels = levels._replace(scales=solving.solve_scales(statistics, levels, TAIL, scale))
    assert (levels.scales[levels.starts] == 1).all()

    def change(levels, rng):
        moved = levels.scales + 0.05 * rng.standard_normal(levels.scales.shape)
        moved[levels.starts] = 1
        return levels._replace(scales=moved)

    assert is_minimum(x, codes, levels, change)


def test_conjugate_gradients_solve_every_column():
    rng = np.random.default_rng(0)
    matrices = [a @ a.T + 8 * np.eye(8) for a in rng.standard_normal((3, 8, 8))]
    right = rng.standard_normal((8, 3))

    def multiply(c):
        return np.stack([a @ c[:, j] for j, a in enumerate(matrices)], 1)

    diagonal = np.stack([a.diagonal() for a in matrices], 1)
    solution = solving.conjugate_gradients(multiply, right, np.zeros((8, 3)), diagonal)
    np.testing.assert_allclose(multiply(solution), right, atol=1e-6)


@pytest.mark.parametrize("group", [[0, 0, 0, 0, 0], [0, 1, 1, 1, 1]])
def test_best_geometric_finds_the_minimum(group):
    levels = Levels(np.zeros((max(group) + 1, 2, 2)), np.array(group), np.ones((5, 1)))
    truth = 0.7 ** solving.powers(levels)
    np.testing.assert_allclose(solving.best_geometric(np.eye(5), truth, levels)[:, 0], truth, atol=1e-5)
