"""A tiny comparison of inverted-file indexes end to end."""

import json
from functools import partial

import numpy as np
import pytest

from tests.benchmarks.running import WARNINGS_FAIL, run_module

pytestmark = pytest.mark.slow  # whole comparisons, in processes of their own

OWN = ["DRQ2x8", "DRQ2x8 vector", "DRQ2x8 no residual", "DRQ2x8 no residual own first"]
OWN += ["DRQ2x8 half weighted", "DRQ4x4", "DRQ1x8", "DRQ2x8+RFlat"]
PEERS = ["PQ2x8", "PQ4x4fs", "PQ4x4fsr", "PQ6x8", "PQ12x4fs", "PQ12x4fsr", "RQ2x8 Nfloat", "RQ2x8 Nqint8"]
PEERS += ["PQ2x8+RFlat", "PQ4x4fs+RFlat", "HNSW32"]


run = partial(run_module, "benchmarks.ivf.measure", python=WARNINGS_FAIL)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ivf")
    # 10 dimensions: the product quantizers with longer codes need padding.
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(1500, 10)).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def tiny(data):
    size = ("--data", data / "x.npy", "--max-learn", 300, "--nlist", 4, "--bytes", 2, "--nprobe", "1,2")
    return (*size, "--runs", 1, "--seconds", 0.001, "--keep", data / "indexes", "--out", data)


@pytest.fixture(scope="module")
def results(data, tiny):
    done = run(*tiny)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((data / "ivf-x.json").read_text())


def test_every_method_is_measured_at_every_setting(results):
    points = results[1]["points"]
    assert list(dict.fromkeys(point["method"] for point in points)) == OWN + PEERS
    for method in OWN[:1] + PEERS[:1]:
        settings = [p["settings"] for p in points if (p["method"], p["threads"], p["k"]) == (method, 1, 10)]
        lengths = [{"levels": levels} for levels in (1, 2)] if method in OWN else [{}]
        assert settings == [{"nprobe": nprobe, **length} for nprobe in (1, 2) for length in lengths]
    for point in points:
        assert point["us"] > 0
        assert all(0 <= recall <= 1 for recall in point["recall"].values())
        assert list(point["recall"]) == (["1", "10"] if point["k"] == 10 else ["100"])


def test_more_lists_find_more(results):
    def recall(method, nprobe):
        return max(
            point["recall"].get("10", 0)
            for point in results[1]["points"]
            if point["method"] == method and point["settings"].get("nprobe") == nprobe
        )

    for method in ("DRQ2x8", "PQ2x8", "RQ2x8 Nfloat"):
        assert recall(method, 1) < recall(method, 2)


def test_all_bytes_are_counted(results):
    counted = results[1]["bytes_per_vector"]
    code, id_, norm, vector = 2, 8, 4, 40
    expected = {"PQ2x8": code + id_, "RQ2x8 Nqint8": code + id_ + 1, "PQ2x8+RFlat": code + id_ + vector}
    expected |= dict.fromkeys(("DRQ2x8", "DRQ4x4", "RQ2x8 Nfloat", "PQ6x8"), code + id_ + norm)
    for name, size in expected.items():
        # The sizes of the lists are in the file, too.
        assert counted[name] == pytest.approx(size, abs=0.1)


def test_tables_and_curves_are_saved(results, data):
    assert results[0] == (data / "ivf-x.md").read_text()
    rows = len(OWN + PEERS) * 2 + len(results[1]["checks"])
    assert results[0].count("\n| ") == rows + 2
    assert (data / "ivf-x.svg").read_bytes().startswith(b"<?xml")


def test_kept_indexes_are_read_again(results, tiny):
    done = run(*tiny, "--methods", "DRQ2x8,PQ2x8", "--threads", 1, "--out", tiny[-1] / "again")
    assert done.returncode == 0, done.stderr
    again = json.loads((tiny[-1] / "again" / "ivf-x.json").read_text())
    recalls = [
        {(p["method"], str(p["settings"]), p["k"]): p["recall"] for p in run["points"] if p["threads"] == 1}
        for run in (again, results[1])
    ]
    assert recalls[0].items() <= recalls[1].items()
    assert again["bytes_per_vector"].items() <= results[1]["bytes_per_vector"].items()


def test_an_unknown_method_is_named(tiny):
    done = run(*tiny, "--methods", "PQ2x8,LSH")
    assert done.returncode != 0
    assert "methods ['LSH']; expected some of" in done.stderr
