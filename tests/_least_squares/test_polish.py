"""Polishing a trained quantizer."""

import numpy as np
import pytest

from drqfaiss._least_squares.polish import polish
from drqfaiss.quantizer import Quantizer


def test_size_is_bounded():
    quantizer = Quantizer(np.random.default_rng(0).normal(size=(4096, 2)), 0.8 ** np.arange(16))
    with pytest.raises(ValueError, match=r"16 \* 4096 = 65536, expected at most 23170"):
        polish(quantizer, np.zeros((10, 2)))


def test_a_vector_far_out_changes_nothing():
    x = np.random.default_rng(1).normal(size=(800, 6)).astype(np.float32)
    quantizer = Quantizer.train(x, 3, 4, layout="shared", quality="fast", progress=False)
    far = np.concatenate([x, np.full((1, 6), 1e6, np.float32)])
    expected, found = polish(quantizer, x, iterations=3), polish(quantizer, far, iterations=3)
    np.testing.assert_array_equal(found.codebook, expected.codebook)
    np.testing.assert_array_equal(found.scales, expected.scales)
