"""Plans: what they choose, what they expect, what they refuse."""

import functools
import json

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss._least_squares import layouts
from drqfaiss._planning import trial
from drqfaiss.evaluation import exact_neighbours, intersection_at

D = 6
plan = functools.partial(drqfaiss.plan, quality="fast", progress=False)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(25_000, 6)) @ rng.normal(size=(6, D))).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def sample(vectors):
    return vectors[:24_000]


@pytest.fixture(scope="module")
def plane():
    """Vectors that train in no time, as there are codes of 2 bytes at most."""
    return np.random.default_rng(0).normal(size=(6_000, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def by_recall(sample):
    return plan(6_000, D, sample=sample, recall=0.7)


def test_the_smallest_that_finds_enough_is_chosen(by_recall):
    assert by_recall.reached
    assert by_recall.recall >= 0.7
    smaller = [t for t in by_recall.tried if t.footprint.memory < by_recall.memory]
    assert all(tried.recall < 0.7 for tried in smaller)
    drafts = {draft.shape.levels: draft.recall for draft in by_recall.drafts}
    assert sorted(drafts) == list(drafts)
    assert all(drafts[levels] < 0.7 for levels in drafts if levels < by_recall.chosen.shape.levels / 2)


@pytest.mark.slow
def test_what_is_built_finds_as_much(by_recall, vectors):
    index = by_recall.build()
    assert type(index) is drqfaiss.IndexDRQ
    base, queries = vectors[:6_000], vectors[24_000:]
    index.train(base)
    index.add(base)
    truth = exact_neighbours(base, queries, 10, faiss.METRIC_L2)
    assert intersection_at(index.search(queries, 10)[1], truth, 10) == pytest.approx(
        by_recall.recall, abs=0.1
    )


def test_the_best_that_fits_is_chosen(sample):
    limit = 6_000 * 8 + 600_000
    found = plan(6_000, D, sample=sample, memory=limit)
    assert found.memory <= limit
    assert found.reached
    fitting = [draft.shape.levels for draft in found.drafts]
    assert found.chosen.shape.levels == max(fitting)
    assert all(draft.footprint.memory <= limit for draft in found.drafts)


def test_both_may_be_out_of_reach(sample):
    limit = 6_000 * 6 + 310_000
    found = plan(6_000, D, sample=sample, memory=limit, recall=0.95)
    assert not found.reached
    assert found.memory <= limit
    assert "out of reach within 346 kB" in repr(found)


def test_copies_find_what_codes_do_not(plane):
    found = plan(6_000, 2, sample=plane, recall=0.999, k=5)
    assert found.chosen.shape.copies in ("SQ8", "Flat")
    index = found.build()
    assert isinstance(index, faiss.IndexRefine)
    assert index.k_factor == 10


def test_many_vectors_get_lists(plane):
    queries = plane[:200] + 1e-3
    found = plan(300_000, 2, sample=plane, recall=0.1, metric=faiss.METRIC_INNER_PRODUCT, queries=queries)
    assert found.description.startswith("IVF2048,DRQ")
    assert found.chosen.footprint.per_vector.keys() == {"codes", "ids"}


@pytest.mark.parametrize(("n", "many"), [(300_000, True), (12_288, True), (12_287, False)])
def test_few_vectors_of_a_sample_stand_for_many(plane, monkeypatch, n, many):
    drafted = []

    def try_out(*given):
        drafted.append(layouts._for_many.get())
        return trial.try_out(*given)

    monkeypatch.setattr("drqfaiss._planning.plan.try_out", try_out)
    plan(n, 2, sample=plane[:2_000], recall=0.1)
    assert drafted and set(drafted) == {many}


def test_it_says_all(by_recall):
    text = repr(by_recall)
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith(f"index_factory(6, '{by_recall.description}'")
    assert "codes: 6,000 x " in text
    plain = json.loads(json.dumps(by_recall.as_dict()))
    assert plain["memory"] == by_recall.memory
    assert plain["bytes_per_vector"] == sum(plain["per_vector"].values())
    assert [row["description"] for row in plain["rows"]][: len(by_recall.tried)] == [
        tried.shape.description for tried in by_recall.tried
    ]


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (TypeError, "memory: got neither it nor recall", {"recall": None}),
        (ValueError, "recall: got 1, expected a share above 0 and below 1", {"recall": 1}),
        (ValueError, "memory: got 0, expected bytes above 0", {"memory": 0}),
        (
            ValueError,
            r"memory: got 1,000 bytes, expected at least 27\d,\d\d\d: codes: 9 x 2 = 18",
            {"memory": 1000},
        ),
        (ValueError, "sample: got 1999 vectors, expected at least 2,000", {"few": 1999}),
        (ValueError, "queries: got 9, expected at least 100", {"queries": np.zeros((9, D), np.float32)}),
        (ValueError, "k: got 1000, expected 1 to", {"k": 1000}),
        (ValueError, "n: got 0, expected", {"n": 0}),
        (ValueError, "sample: got .*, expected .*5", {"d": 5}),
    ],
)
def test_bad_arguments_are_named(sample, error, message, changes):
    given = {"n": 9, "d": D, "recall": 0.5, **changes}
    few = given.pop("few", None)
    with pytest.raises(error, match=message):
        plan(given.pop("n"), given.pop("d"), sample=sample[:few], **given)
