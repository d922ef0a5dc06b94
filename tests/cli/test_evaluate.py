import numpy as np
import pytest

import drqfaiss
from drqfaiss.datasets import read_vectors
from drqfaiss.evaluation import intersection_at, recall_at

QUICK = ("--runs", 1, "--seconds", 0)


@pytest.mark.parametrize(
    "truth",
    [("--groundtruth", "truth.ivecs"), ("--groundtruth", "data.hdf5:neighbors"), ("--base", "base.npy")],
)
def test_recall_is_that_of_the_search(truth, files, run):
    option, name = truth
    arguments = (files / "filled.faiss", files / "query.npy", option, files / name)
    told = run("eval", *arguments, "--levels", "1,3", "--ranks", "1,10", *QUICK)
    assert (told["vectors"], told["queries"]) == (600, 20)
    index, exact = drqfaiss.read_index(files / "filled.faiss"), read_vectors(files / "truth.ivecs")
    for row, levels in zip(told["rows"], (1, 3), strict=True):
        index.levels = levels
        ids = index.search(np.load(files / "query.npy"), 20)[1]
        assert row["levels"] == levels
        assert [row["1@1"], row["1@10"]] == [recall_at(ids, exact, k) for k in (1, 10)]
        assert row["10@10"] == intersection_at(ids, exact, 10)
        assert row["µs/query"] > 0


def test_numbers_of_lists_are_swept(files, run):
    arguments = (files / "ivf.faiss", files / "query.npy", "--groundtruth", files / "truth.ivecs")
    rows = run("eval", *arguments, "--nprobe", "1,8", "--ranks", "1", *QUICK)["rows"]
    assert [(row["nprobe"], row["levels"]) for row in rows] == [(1, None), (8, None)]
    assert rows[0]["1@1"] < rows[1]["1@1"] == 1


def test_ranks_beyond_the_index_count_all_vectors(files, run):
    arguments = (files / "filled.faiss", files / "query.npy", "--base", files / "base.npy")
    row = run("eval", *arguments, "--ranks", "1000", *QUICK)["rows"][0]
    assert (row["1@1000"], row["1000@1000"]) == (1, 1)


def test_all_of_k_need_as_many_exact_neighbours(files, run, tmp_path):
    np.save(tmp_path / "truth.npy", read_vectors(files / "truth.ivecs")[:, :2])
    arguments = (files / "filled.faiss", files / "query.npy", "--groundtruth", tmp_path / "truth.npy")
    row = run("eval", *arguments, "--ranks", "2,5", *QUICK)["rows"][0]
    assert 0 < row["2@2"] < 1
    assert row["5@5"] is None


def test_errors_name_what_was_expected(files, fails):
    arguments = (files / "filled.faiss", files / "query.npy", "--groundtruth")
    assert "base.npy: got 600 rows, expected 20, one per" in fails("eval", *arguments, files / "base.npy")
    assert "levels: got 7, expected 0 to 3" in fails("eval", *arguments, files / "truth.ivecs", "--levels", 7)
    assert "no such file" in fails("eval", *arguments, "none.ivecs")


def test_neighbours_that_are_none_are_refused(files, fails, tmp_path):
    truth, arguments = tmp_path / "truth.npy", (files / "filled.faiss", files / "query.npy", "--groundtruth")
    np.save(truth, np.full((20, 2), -1))
    assert "truth.npy: got a query without a neighbour" in fails("eval", *arguments, truth)
    np.save(truth, np.zeros((20, 2)))
    assert "truth.npy: got float64, expected integers" in fails("eval", *arguments, truth)


def test_other_base_vectors_and_no_queries_are_refused(files, fails, tmp_path):
    index, query = files / "filled.faiss", files / "query.npy"
    told = fails("eval", index, query, "--base", query)
    assert "query.npy: got 20 vectors, expected the 600 of the index" in told
    np.save(tmp_path / "none.npy", np.load(query)[:0])
    told = fails("eval", index, tmp_path / "none.npy", "--base", files / "base.npy")
    assert "none.npy: got no queries, expected at least one" in told
