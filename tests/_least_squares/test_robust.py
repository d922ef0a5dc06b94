"""Training on sets that are hard on codebooks, beside FAISS's residual quantizer of the same shape."""

import faiss
import numpy as np
import pytest

from drqfaiss.quantizer import Quantizer

D, BITS, LEARN, HELD_OUT = 32, 6, 3000, 1000


def clusters(rng, n):
    centres = np.random.default_rng(1).standard_normal((30, D)) * 2
    return centres[rng.integers(0, 30, n)] + rng.standard_normal((n, D)) * np.linspace(1, 0.2, D)


def outliers(rng, n):
    x = clusters(rng, n)
    x[:: n // 3] *= 1e4
    return x


def heavy_tails(rng, n):
    return clusters(rng, n) * rng.standard_t(2.5, (n, 1))


def duplicates(rng, n):
    x = clusters(rng, n)
    x[rng.random(n) < 0.6] = clusters(np.random.default_rng(2), 1)
    return x


def few_distinct(rng, n):
    return clusters(np.random.default_rng(3), 300)[rng.integers(0, 300, n)]


def constant_dimensions(rng, n):
    x = clusters(rng, n)
    x[:, ::3] = 7
    return x


def lengths_apart(rng, n):
    return clusters(rng, n) * 10.0 ** rng.uniform(-2, 2, (n, 1))


def far_from_zero(rng, n):
    return clusters(rng, n) + 1000


def one_large_dimension(rng, n):
    return clusters(rng, n) * np.where(np.arange(D) == 5, 100, 1)


SETS = (
    clusters,
    outliers,
    heavy_tails,
    duplicates,
    few_distinct,
    constant_dimensions,
    lengths_apart,
    far_from_zero,
    one_large_dimension,
)


def usual(x):
    """Without what lies ten thousand times as far out as the others."""
    lengths = np.linalg.norm(x, axis=1)
    return x[lengths < 1000 * np.median(lengths)]


@pytest.fixture(autouse=True)
def one_thread():
    """Small data mostly waits for its threads."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.mark.parametrize("levels", [4, pytest.param(8, marks=pytest.mark.slow), 16])
@pytest.mark.parametrize("make", SETS)
def test_no_set_is_coded_worse_than_by_a_residual_quantizer(make, levels):
    learn = make(np.random.default_rng(4), LEARN).astype(np.float32)
    held_out = usual(make(np.random.default_rng(5), HELD_OUT).astype(np.float32))
    stock = faiss.IndexResidualQuantizer(D, levels, BITS)
    stock.train(usual(learn))
    quantizer = Quantizer.train(learn, levels, BITS, progress=False)
    found = quantizer.decode(quantizer.encode(held_out, beam=stock.rq.max_beam_size))
    error = np.square(held_out - found, dtype=np.float64).sum()
    expected = np.square(held_out - stock.sa_decode(stock.sa_encode(held_out)), dtype=np.float64).sum()
    rounding = 1e-12 * np.square(held_out, dtype=np.float64).sum()
    assert error < 1.02 * expected + rounding
