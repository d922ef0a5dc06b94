"""The cheapest of what is good enough, by few measurements of ordered points."""

from itertools import product

import numpy as np
import pytest

from drqfaiss._tuning.dominance import Found, cheapest

SIDES = (9, 7, 5)
POINTS = np.array([*product(*map(range, SIDES))])


def monotone(seed, weights=3):
    """Values that grow along every axis."""
    steps = [np.random.default_rng((seed, i)).random(side).cumsum() for i, side in enumerate(SIDES)]
    return sum(axis[column] for axis, column in zip(steps, POINTS.T, strict=True)) / weights


@pytest.mark.parametrize("seed", range(20))
def test_the_cheapest_is_that_of_all_measurements(seed):
    quality, cost = monotone(seed), monotone(seed + 100)
    target = np.quantile(quality, np.random.default_rng(seed).random())
    asked = []

    def measure(row):
        asked.append(row)
        return Found(bool(quality[row] >= target), cost[row])

    rows = cheapest(POINTS, measure)
    good = np.flatnonzero(quality >= target)
    assert rows[0] == (good[np.argmin(cost[good])], cost[good].min())
    assert len(asked) == len({*asked}) <= len(POINTS) / 5


def test_what_is_known_is_not_measured_again():
    line = np.arange(16)[:, None]
    asked = []

    def measure(row):
        asked.append(row)
        return Found(row >= 11, float(row))

    assert cheapest(line, measure) == [(11, 11.0)]
    assert len(asked) <= 5  # As many as bisection takes.
    known = {row: Found(row >= 11, float(row)) for row in asked}
    asked.clear()
    assert cheapest(line, measure, known) == [(11, 11.0)]
    assert asked == []


def test_costs_that_are_nearly_equal_are_all_returned():
    flat = np.array([[0, 2], [1, 1], [2, 0]])
    costs = [1.0, 1.1, 1.3]
    assert cheapest(flat, lambda row: Found(True, costs[row]), slack=1.2) == [(0, 1.0), (1, 1.1)]


def test_nothing_may_be_good_enough():
    assert cheapest(POINTS, lambda row: Found(False, 1.0)) == []
    assert cheapest(POINTS[:0], lambda row: Found(True, 1.0)) == []
