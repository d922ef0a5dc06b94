"""A codebook for every level, trained one after another: FAISS's residual quantizer, but for odd vectors."""

import faiss
import numpy as np
import pytest

from drqfaiss._least_squares.options import TrainingOptions
from drqfaiss._least_squares.residual import train_residual
from drqfaiss.quantizer import Quantizer

X = np.random.default_rng(0).standard_t(3, size=(600, 12)).astype(np.float32)


def trained(x, bits=4, **options):
    return Quantizer.from_groups(*train_residual(x.astype(np.float32), 3, bits, TrainingOptions(**options)))


def test_the_codebooks_are_those_of_faiss():
    stock = faiss.IndexResidualQuantizer(12, 3, 4)
    stock.train(X)
    found = trained(X)
    np.testing.assert_array_equal(found.codebooks().ravel(), faiss.vector_to_array(stock.rq.codebooks))
    assert found.layout == "3 levels with 3 codebooks in all 12 dimensions"
    assert not np.array_equal(trained(X, seed=2**31 - 1).codebooks(), found.codebooks())


def test_a_vector_far_out_changes_nothing():
    far = np.concatenate([X, np.full((1, 12), 1e6)])
    np.testing.assert_array_equal(trained(far).codebooks(), trained(X).codebooks())


@pytest.mark.parametrize("magnitude", [2.0**-100, 2.0**90])
def test_a_power_of_two_changes_nothing(magnitude):
    expected = trained(X).codebooks()
    np.testing.assert_allclose(trained(X * magnitude).codebooks() / magnitude, expected, rtol=1e-4, atol=1e-4)


def test_vectors_far_from_zero_are_centred():
    error = np.square(X - trained(X).decode(trained(X).encode(X))).sum()
    far = X + 1e4
    found = trained(far)
    assert np.square(far - found.decode(found.encode(far))).sum() < 1.1 * error


def test_fewer_usual_vectors_than_codewords():
    x = X[:32].copy()
    x[3] = 1e6
    found = trained(x, bits=5)
    usual = np.delete(x, 3, axis=0)
    np.testing.assert_allclose(found.decode(found.encode(usual)), usual, atol=1e-2)
