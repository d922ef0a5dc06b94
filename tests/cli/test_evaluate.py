import faiss
import h5py
import numpy as np
import pytest

import drqfaiss
from drqfaiss.cli import sweep
from drqfaiss.cli.timing import Timing
from drqfaiss.datasets import read_vectors
from drqfaiss.evaluation import intersection_at, recall_at
from tests.indexes import make_vectors

QUICK = ("--runs", 1, "--seconds", 0)


@pytest.fixture
def truth(files):
    return read_vectors(files / "truth.ivecs")


@pytest.mark.parametrize(
    "given",
    [("--groundtruth", "truth.ivecs"), ("--groundtruth", "data.hdf5:neighbors"), ("--base", "base.npy")],
)
def test_recall_is_that_of_the_timed_search(given, files, run, truth, monkeypatch):
    timed = []
    monkeypatch.setattr(
        sweep, "_time", lambda index, queries, k, _: timed.append((index.levels, k)) or Timing(7.0, None)
    )
    option, name = given
    arguments = (files / "filled.faiss", files / "query.npy", option, files / name)
    told = run("eval", *arguments, "--levels", "1,3", "-k", "1,10", *QUICK)
    assert (told["vectors"], told["queries"]) == (600, 20)
    index = drqfaiss.read_index(files / "filled.faiss")
    settings = [(levels, k) for levels in (1, 3) for k in (1, 10)]
    assert timed == settings
    for row, (levels, k) in zip(told["rows"], settings, strict=True):
        index.levels = levels
        ids = index.search(np.load(files / "query.npy"), k)[1]
        assert (row["levels"], row["k"], row["us_per_query"]) == (levels, k, 7.0)
        assert row["recall_1_at_1"] == recall_at(ids, truth, 1)
        assert row["recall_1_at_k"] == recall_at(ids, truth, k)
        assert row["recall_k_at_k"] == intersection_at(ids, truth, k)


def test_settings_are_swept(files, run):
    arguments = (files / "ivf.faiss", files / "query.npy", "--groundtruth", files / "truth.ivecs")
    rows = run("eval", *arguments, "--nprobe", "1,8", "-k", "1", *QUICK)["rows"]
    assert [(row["nprobe"], row["levels"]) for row in rows] == [(1, None), (8, None)]
    assert rows[0]["recall_1_at_1"] < rows[1]["recall_1_at_1"] == 1
    assert all(row["us_per_query"] > 0 for row in rows)


def test_two_stages_are_swept(files, run, truth):
    arguments = (files / "filled.faiss", files / "query.npy", "--groundtruth", files / "truth.ivecs")
    rows = run("eval", *arguments, "--levels", 1, "--refine-factor", "0,2", "--refine-levels", 2, *QUICK)[
        "rows"
    ]
    assert [(row["levels"], row["refine_levels"], row["refine_factor"]) for row in rows] == [
        (1, 2, 0),
        (1, 2, 2),
    ]
    index = drqfaiss.read_index(files / "filled.faiss")
    for row, factor in zip(rows, (None, 2), strict=True):
        params = drqfaiss.SearchParametersDRQ(1, refine_levels=2, refine_factor=factor)
        ids = index.search(np.load(files / "query.npy"), 10, params=params)[1]
        assert row["recall_k_at_k"] == intersection_at(ids, truth, 10)


def test_all_of_k_need_as_many_exact_neighbours(files, run, truth, tmp_path):
    np.save(tmp_path / "truth.npy", truth[:, :2])
    arguments = (files / "filled.faiss", files / "query.npy", "--groundtruth", tmp_path / "truth.npy")
    two, five = run("eval", *arguments, "-k", "2,5", *QUICK)["rows"]
    assert 0 < two["recall_k_at_k"] < 1
    assert five["recall_k_at_k"] is None


def test_settings_that_nobody_asked_for_are_not_shown(files, capsys):
    arguments = ("eval", files / "filled.faiss", files / "query.npy", "--base", files / "base.npy", *QUICK)
    assert drqfaiss.cli.main([*map(str, arguments), "--levels", "1,2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].split() == ["levels", "k", "1@1", "1@k", "k@k", "query", "%", "SIMD"]
    assert max(map(len, lines)) <= 80


def test_a_large_spread_is_told(files, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "best_times", lambda *_, **__: {"": Timing(7.0, None, 0.6)})
    arguments = (
        "eval",
        files / "filled.faiss",
        files / "query.npy",
        "--base",
        files / "base.npy",
        "--runs",
        2,
    )
    assert drqfaiss.cli.main([*map(str, arguments), "--levels", "1,2"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].split()[-2:] == ["60", "-"]
    assert err.startswith("warning: 2 of 2 times differ by more than 25% between runs, by 60% at most")


def test_errors_name_what_was_expected(files, fails):
    arguments = (files / "filled.faiss", files / "query.npy", "--groundtruth")
    truth = files / "truth.ivecs"
    assert "base.npy: got 600 rows, expected 20, one per" in fails("eval", *arguments, files / "base.npy")
    assert "--levels: got 7, expected 0 (all) to 3" in fails("eval", *arguments, truth, "--levels", 7)
    told = fails("eval", *arguments, truth, "--levels", 3, "--refine-levels", 2, "--refine-factor", 2)
    assert "--refine-levels: got 2, expected at least the 3 levels" in told
    assert "no such file" in fails("eval", *arguments, "none.ivecs")
    assert "-k: got 601, expected at most the 600 vectors" in fails("eval", *arguments, truth, "-k", 601)
    assert "trained.faiss: got an index without vectors" in fails(
        "eval", files / "trained.faiss", *arguments[1:], truth
    )


def test_neighbours_that_are_none_are_refused(files, fails, tmp_path):
    truth, arguments = tmp_path / "truth.npy", (files / "filled.faiss", files / "query.npy", "--groundtruth")
    np.save(truth, np.full((20, 2), -1))
    assert "truth.npy: got a query without a neighbour" in fails("eval", *arguments, truth)
    np.save(truth, np.zeros((20, 2)))
    assert "truth.npy: got float64, expected integers" in fails("eval", *arguments, truth)
    np.save(truth, np.full((20, 2), 600))
    assert "truth.npy: got id 600, expected ids of the 600 vectors" in fails("eval", *arguments, truth)


def test_neighbours_of_other_vectors_or_by_another_metric_are_refused(files, fails, truth, tmp_path):
    arguments = (files / "filled.faiss", files / "query.npy", "--groundtruth")
    np.save(tmp_path / "other.npy", np.random.default_rng(0).permutation(600)[truth])
    told = fails("eval", *arguments, tmp_path / "other.npy")
    assert "other.npy: got neighbours of which the index finds" in told
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.attrs["distance"] = "angular"
        file["neighbors"] = truth
    told = fails("eval", *arguments, f"{tmp_path / 'x.hdf5'}:neighbors")
    assert "got neighbours by distance 'angular', expected euclidean as the index has" in told


def test_other_base_vectors_and_no_queries_are_refused(files, fails, tmp_path):
    index, query = files / "filled.faiss", files / "query.npy"
    told = fails("eval", index, query, "--base", query)
    assert "query.npy: got 20 vectors, expected the 600 of the index" in told
    np.save(tmp_path / "other.npy", make_vectors(600, seed=5))
    assert "other.npy: got neighbours of which" in fails(
        "eval", index, query, "--base", tmp_path / "other.npy"
    )
    np.save(tmp_path / "none.npy", np.load(query)[:0])
    told = fails("eval", index, tmp_path / "none.npy", "--base", files / "base.npy")
    assert "none.npy: got no queries, expected at least one" in told


def test_neighbours_are_those_by_the_ids_of_the_index(files, run, tmp_path):
    base, index = np.load(files / "base.npy"), faiss.IndexIDMap2(faiss.IndexFlatL2(16))
    index.add_with_ids(base, np.arange(600) * 7 + 5)
    faiss.write_index(index, str(tmp_path / "x.faiss"))
    arguments = (tmp_path / "x.faiss", files / "query.npy", "--base", files / "base.npy")
    assert run("eval", *arguments, *QUICK)["rows"][0]["recall_k_at_k"] == 1


def test_lists_with_ids_of_their_own_need_neighbours_by_id(files, run, fails, truth, tmp_path):
    index = faiss.read_index(str(files / "ivf.faiss"))
    index.reset()
    index.add_with_ids(np.load(files / "base.npy"), np.arange(600) + 1000)
    index.nprobe = 8
    faiss.write_index(index, str(tmp_path / "x.faiss"))
    arguments = (tmp_path / "x.faiss", files / "query.npy")
    told = fails("eval", *arguments, "--base", files / "base.npy")
    assert "base.npy: got vectors for an index with ids of its own" in told
    np.save(tmp_path / "truth.npy", truth + 1000)
    rows = run("eval", *arguments, "--groundtruth", tmp_path / "truth.npy", *QUICK)["rows"]
    assert rows[0]["recall_k_at_k"] == 1
