import io
import os
import threading

import numpy as np
import pytest

import drqfaiss
from drqfaiss.datasets import read_vectors
from tests.readers import reading_in_background


@pytest.fixture
def index(files):
    return drqfaiss.read_index(files / "filled.faiss")


@pytest.mark.parametrize("levels", [None, 2])
def test_neighbours_are_those_of_the_index(files, index, run, levels):
    index.levels = levels
    D, ids = index.search(np.load(files / "query.npy"), 3)
    asked = [] if levels is None else ["--levels", levels]
    rows = run("search", files / "filled.faiss", files / "query.npy", "-k", 3, *asked)["rows"]
    assert [row["id"] for row in rows] == ids.ravel().tolist()
    assert [row["distance"] for row in rows] == D.ravel().tolist()


def test_neighbours_are_written_in_every_format(files, index, run, tmp_path):
    D, ids = index.search(np.load(files / "query.npy"), 4)
    for suffix in ("npz", "npy", "ivecs"):
        path = tmp_path / f"found.{suffix}"
        told = run("search", files / "filled.faiss", files / "data.hdf5:test", "-k", 4, "-o", path)
        assert (told["queries"], told["k"]) == (20, 4)
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_array_equal(found["distances"], D)
        np.testing.assert_array_equal(found["ids"], ids)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), ids)
    np.testing.assert_array_equal(read_vectors(tmp_path / "found.ivecs"), ids)


def test_more_lists_find_more(files, run):
    arguments = ("search", files / "ivf.faiss", files / "query.npy")
    few, all_lists = (run(*arguments, *nprobe)["rows"] for nprobe in ([], ["--nprobe", 8]))
    exact = read_vectors(files / "truth.ivecs").ravel().tolist()
    assert [row["id"] for row in all_lists] == exact
    assert [row["id"] for row in few] != exact


def test_levels_and_lists_are_chosen_together(files, run, tmp_path):
    run("train", files / "base.npy", "-o", tmp_path / "trained.faiss", "--factory", "IVF8,DRQ3x4")
    run("build", tmp_path / "trained.faiss", files / "base.npy", "-o", tmp_path / "ivf.faiss")
    index = drqfaiss.read_index(tmp_path / "ivf.faiss")
    for levels, nprobe in ((3, 8), (1, 8), (1, 2)):
        index.levels, index.nprobe = levels, nprobe
        arguments = ("search", tmp_path / "ivf.faiss", files / "query.npy", "-k", 3)
        rows = run(*arguments, "--levels", levels, "--nprobe", nprobe)["rows"]
        D, ids = index.search(np.load(files / "query.npy"), 3)
        assert [row["id"] for row in rows] == ids.ravel().tolist()
        assert [row["distance"] for row in rows] == D.ravel().tolist()


def test_queries_are_normalized(files, index, run):
    query = np.load(files / "query.npy")
    rows = run("search", files / "filled.faiss", files / "query.npy", "-k", 1, "--normalize")["rows"]
    D, _ = index.search(query / np.linalg.norm(query, axis=1, keepdims=True), 1)
    np.testing.assert_allclose([row["distance"] for row in rows], D.ravel(), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.faiss", "query.npy"], "none.faiss: No such file"),
        (["filled.faiss", "narrow.npy"], "narrow.npy: got vectors of 5 dimensions, expected 16"),
        (["filled.faiss", "query.npy", "--levels", "4"], "--levels: got 4, expected 0 (all) to 3"),
        (
            ["filled.faiss", "query.npy", "--nprobe", "4"],
            "--nprobe: got IndexDRQ, expected an index with",
        ),
        (
            ["ivf.faiss", "query.npy", "--levels", "4"],
            "--levels: got IndexIVFFlat, expected an index",
        ),
        (["ivf.faiss", "query.npy", "--nprobe", "9"], "--nprobe: got 9, expected 1 to 8"),
        (["filled.faiss", "query.npy", "-o", "x.txt"], "suffix '.txt', expected one of .npz, .npy, .ivecs"),
    ],
)
def test_errors_name_what_was_expected(arguments, message, files, fails, tmp_path, monkeypatch):
    for name in ("filled.faiss", "ivf.faiss", "query.npy"):
        (tmp_path / name).symlink_to(files / name)
    np.save(tmp_path / "narrow.npy", np.zeros((3, 5), np.float32))
    monkeypatch.chdir(tmp_path)
    assert message in fails("search", *arguments)


def test_ids_that_ivecs_cannot_hold_are_refused(files, fails, run, tmp_path):
    index = drqfaiss.index_factory(16, "IDMap2,DRQ2x4", progress=False)
    base = np.load(files / "base.npy")
    index.train(base)
    index.add_with_ids(base, np.arange(600) + 5_000_000_000)
    drqfaiss.write_index(index, tmp_path / "wide.faiss")
    arguments = ("search", tmp_path / "wide.faiss", files / "query.npy", "-k", 2)
    assert "found.ivecs: got 50000" in fails(*arguments, "-o", tmp_path / "found.ivecs")
    assert not (tmp_path / "found.ivecs").exists()
    run(*arguments, "-o", tmp_path / "FOUND.NPY")
    np.testing.assert_array_equal(
        np.load(tmp_path / "FOUND.NPY"), index.search(np.load(files / "query.npy"), 2)[1]
    )


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".ivecs"])
def test_pipes_are_written_to(files, run, suffix, tmp_path):
    arguments = (files / "filled.faiss", files / "base.npy", "-k", 5, "-o")
    expected, pipe = tmp_path / f"file{suffix}", tmp_path / f"pipe{suffix}"
    run("search", *arguments, expected)
    os.mkfifo(pipe)
    with reading_in_background(pipe) as got:
        run("search", *arguments, pipe)
    if suffix == ".npz":
        np.testing.assert_equal(dict(np.load(io.BytesIO(got[0]))), dict(np.load(expected)))
    else:
        assert got[0] == expected.read_bytes()


def test_a_pipe_whose_reader_leaves_is_an_error(files, fails, tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    reader = threading.Thread(target=lambda: open(tmp_path / "pipe.npy", "rb").close())
    reader.start()
    arguments = (files / "filled.faiss", files / "base.npy", "-k", 600, "-o", tmp_path / "pipe.npy")
    assert "pipe.npy: Broken pipe" in fails("search", *arguments)
    reader.join()
