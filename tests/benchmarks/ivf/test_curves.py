"""What is read off curves of recall against speed."""

import pytest

from benchmarks.ivf import curves


def points(family, *measured, method="", threads=1, **settings):
    """A point of every (recall, queries per second)."""
    return [
        curves.Point(family, method, settings, threads, 10, {10: recall}, 1e6 / qps, None)
        for recall, qps in measured
    ]


def test_front_keeps_what_nothing_beats():
    measured = points("IVFPQ", (0.5, 100), (0.4, 90), (0.7, 50), (0.7, 40), (0.3, 200))
    assert [p.recall[10] for p in curves.front(measured, 10)] == [0.3, 0.5, 0.7]


def test_fastest_takes_higher_recalls_too():
    measured = points("DRQ", (0.5, 100), (0.7, 120), (0.9, 10))
    assert curves.fastest(measured, 0.5).recall[10] == 0.7
    assert curves.fastest(measured, 0.95) is None


def test_ratios_are_taken_at_the_recalls_of_the_peer():
    own = points("DRQ", (0.52, 300), (0.8, 60))
    peer = points("IVFPQ", (0.5, 100), (0.6, 50), (0.9, 20))
    check = curves.checks([*own, *peer])[0]
    assert check.figures == pytest.approx({"0.500": 3, "0.600": 1.2, "0.900": 0})
    assert check.least == 0
    assert check.met is False


def test_refined_searches_are_compared_with_refined_ones():
    own = points("DRQ", (0.9, 1000))
    peer = points("IVFPQ+RFlat", (0.9, 10))
    assert not curves.checks([*own, *peer])
    check = curves.checks([*own, *peer, *points("DRQ+RFlat", (0.95, 20))])[0]
    assert check.figures == pytest.approx({"0.900": 2})
    assert check.met is None


def test_half_of_the_levels_is_held_against_all_and_against_an_index_of_half():
    whole = points("DRQ", (0.8, 100), method="DRQ8x8", nprobe=4, levels=8)
    half = points("DRQ", (0.5, 150), method="DRQ8x8", nprobe=4, levels=4)
    other = points("DRQ", (0.1, 1), method="DRQ8x8 vector", nprobe=4, levels=4)
    short = points("DRQ trained for half", (0.53, 150), nprobe=4, levels=4)
    speed, recall = curves.checks([*whole, *half, *other, *short])
    assert speed.figures == pytest.approx({"nprobe 4": 1.5})
    assert speed.met is True
    assert recall.figures == pytest.approx({"nprobe 4": -0.03})
    assert recall.met is False
    weighted = points("DRQ", (0.79, 90), method="DRQ8x8 half weighted", nprobe=4, levels=8)
    weighted += points("DRQ", (0.52, 180), method="DRQ8x8 half weighted", nprobe=4, levels=4)
    speed, recall = curves.checks([*whole, *half, *weighted, *short])[2:]
    assert speed.title.startswith("half of the levels, half weighted")
    assert (speed.least, recall.least) == (pytest.approx(2), pytest.approx(-0.01))


def test_the_highest_recall_is_held_against_every_peer_of_equal_code():
    measured = points("DRQ", (0.8, 10)) + points("IVFPQ", (0.7, 100))
    measured += points("IVF-RQ", (0.75, 10)) + points("IVFPQ, 4 bytes more", (0.9, 10))
    check = curves.checks(measured)[-1]
    assert check.figures == pytest.approx({"IVFPQ": 0.1, "IVF-RQ": 0.05})
    assert check.met is True


def test_threads_are_judged_apart():
    measured = [
        *points("DRQ", (0.5, 300)),
        *points("IVFPQ", (0.5, 100)),
        *points("DRQ", (0.5, 400), threads=2),
        *points("IVFPQ", (0.5, 200), threads=2),
    ]
    ratios = [c for c in curves.checks(measured) if c.title.startswith("times as fast")]
    assert [(c.threads, c.least) for c in ratios] == [(1, pytest.approx(3)), (2, pytest.approx(2))]
