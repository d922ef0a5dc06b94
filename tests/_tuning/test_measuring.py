"""How settings are timed."""

import numpy as np
import pytest

import drqfaiss
from drqfaiss._indexes.settings import Setting
from drqfaiss._tuning import measuring
from drqfaiss._tuning.measuring import Measuring
from tests.indexes import make_index, make_vectors


@pytest.fixture
def searched(monkeypatch):
    """The numbers of queries that are searched for together."""
    numbers = []

    def counting(self, x, k, search=drqfaiss.IndexDRQ.search):
        numbers.append(len(x))
        return search(self, x, k)

    monkeypatch.setattr(drqfaiss.IndexDRQ, "search", counting)
    monkeypatch.setattr(measuring, "ENOUGH_SECONDS", 0.0)
    return numbers


@pytest.mark.parametrize("single", [False, True])
def test_queries_are_timed_alone_or_together(single, searched):
    index, queries = make_index(300), make_vectors(150, seed=3)
    truth = index.search(queries, 5)[1]
    searched.clear()
    measure = Measuring(index, queries, truth, lambda: None, single)
    measured = measure(Setting(levels=2))
    assert searched == ([1, 150, *[1] * measuring.FEWEST_TIMED] if single else [1, 150])
    searched.clear()
    measure.compare([Setting(levels=2)], rounds=1)
    assert searched == ([1] * measuring.FEWEST_TIMED if single else [measuring.FEWEST_TIMED])
    index.levels = 2
    shares = measuring.shares_found(index.search(queries, 5)[1], truth)
    np.testing.assert_array_equal(measured.shares, shares)
