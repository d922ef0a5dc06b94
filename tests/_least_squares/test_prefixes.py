"""Weights of prefixes: the same loss in two forms."""

import numpy as np

from drqfaiss._least_squares.prefixes import default_prefix_weights, gain_weights, tail_weights


def test_tail_weights_sum_the_weights_of_all_longer_prefixes():
    np.testing.assert_allclose(tail_weights(4, {2: 1, 4: 3}), [1, 1, 0.75, 0.75])
    np.testing.assert_allclose(tail_weights(3, {3: 5}), [1, 1, 1])


def test_the_default_favours_long_codes():
    weights = default_prefix_weights(8)
    assert weights[8] == 1
    assert 0 < weights[1] < weights[4] < 0.1
    np.testing.assert_array_equal(tail_weights(8, None), tail_weights(8, weights))


def test_codes_follow_given_weights_only():
    assert gain_weights(4, None) == []
    assert gain_weights(4, {2: 1, 4: 3}) == [1, 1, 0.75, 0.75]
