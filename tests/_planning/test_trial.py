"""Searches in parts of a sample, and what they tell about more vectors."""

import faiss
import numpy as np
import pytest

from drqfaiss._indexes.settings import searched_with, thorough
from drqfaiss._planning.shape import Shape
from drqfaiss._planning.trial import Sample, extended, try_out
from drqfaiss.evaluation import intersection_at

FAST = Shape(4, quality="fast")


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(6_000, 8)) @ rng.normal(size=(8, 24))).astype(np.float32)
    return Sample(x[:1_000], x[1_000:5_400], x[5_900:], faiss.METRIC_L2, 10)


def test_parts_double(sample):
    assert sample.parts == [550, 1100, 2200, 4400]


def test_small_samples_are_one_part():
    x = np.zeros((400, 4), np.float32)
    assert Sample(x, x, x[:5], faiss.METRIC_L2, 10).parts == [400]


@pytest.mark.parametrize(
    "shape", [FAST, FAST._replace(lists=4), FAST._replace(kept=12), FAST._replace(copies="SQ8")]
)
def test_recall_is_that_of_the_first_vectors(sample, shape):
    trial = try_out(shape, sample)
    assert trial.index.ntotal == len(sample.base)
    found = trial.recalls[4]
    assert len(found) == len(sample.parts)
    with searched_with(trial.index, thorough(trial.index)._replace(k_factor=10 if shape.copies else None)):
        ids = trial.index.search(sample.queries, 10)[1]
    flat = faiss.IndexFlatL2(24)
    flat.add(sample.base)
    assert found[-1] == intersection_at(ids, flat.search(sample.queries, 10)[1], 10)
    assert 0.3 < found[-1] <= 1
    assert trial.train_s > 0 < trial.add_us


def test_lengths_are_prefixes(sample):
    trial = try_out(FAST._replace(levels=6), sample, (2, 4, 6))
    assert list(trial.recalls) == [2, 4, 6]
    assert trial.recalls[2][-1] < trial.recalls[4][-1] < trial.recalls[6][-1]


def test_recall_goes_on_as_it_fell():
    odds = np.array([2.0, 1.5, 1.0])
    recalls = list(1 / (1 + np.exp(-odds)))
    assert extended([100, 200, 400], recalls, 1600) == pytest.approx(0.5)
    assert extended([100, 200, 400], recalls, 400) == recalls[-1]
    assert extended([100, 200, 400], recalls, 300) == recalls[-1]
    assert extended([400], [0.7], 10**9) == 0.7
    assert extended([100, 200], [1.0, 1.0], 10**9) == pytest.approx(1, abs=2e-4)
