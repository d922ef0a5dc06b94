"""Bounds of a recall."""

import numpy as np
import pytest

from drqfaiss._tuning.interval import interval, lower_bound, queries_needed, trials


def test_independent_trials_have_wilsons_interval():
    # R. G. Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I: 81 of 263.
    assert lower_bound(81 / 263, 263) == pytest.approx(0.2553, abs=5e-5)
    assert 1 - lower_bound(1 - 81 / 263, 263) == pytest.approx(0.3662, abs=5e-5)


def test_neighbours_of_a_query_that_are_found_together_count_as_one():
    rng = np.random.default_rng(0)
    apart = rng.binomial(10, 0.9, 400) / 10
    together = (rng.random(400) < 0.9).astype(float)
    assert trials(apart, 10) == pytest.approx(4000, rel=0.15)
    assert trials(together, 10) == pytest.approx(400, rel=0.02)
    widths = [np.diff(interval(shares, 10))[0] for shares in (apart, together)]
    assert widths[1] == pytest.approx(widths[0] * 10**0.5, rel=0.2)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_what_does_not_vary_counts_queries(share):
    low, high = interval(np.full(100, share), 10)
    assert (low, high) == pytest.approx((0.963, 1) if share else (0, 0.037), abs=1e-3)


def test_the_interval_holds_the_recall_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        difficulty = rng.beta(9, 1, 300)  # Queries differ: their mean is 0.9.
        low, high = interval(rng.binomial(10, difficulty) / 10, 10)
        held += low <= 0.9 <= high
    assert 0.92 <= held / 400 <= 0.98


@pytest.mark.parametrize("recall", [0.1, 0.5, 0.9, 0.99])
def test_so_many_queries_can_show_a_recall_and_fewer_cannot(recall):
    n = queries_needed(recall)
    assert lower_bound(1, n) >= recall
    assert n == 1 or lower_bound(1, n - 1) < recall
