"""Builds that are interrupted, even killed while they write, end in the file of an unbroken build."""

import fcntl
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss.build import CHECKPOINT, build_index
from drqfaiss.datasets import open_vectors, sample_rows
from tests.indexes import make_codebooks, make_vectors

# The command, slow enough to be killed in the middle on any machine.
SLOW = """
import sys, time
from drqfaiss import build, cli

def slow(*arguments, chunks=build._chunks):
    for rows in chunks(*arguments):
        time.sleep(0.03)
        yield rows

build._chunks = slow
sys.exit(cli.main())
"""
BUILDER = [sys.executable, "-c", SLOW, "build", "trained.faiss", "x.npy", "-o", "x.faiss"]
BUILDER += ["--chunk", "20", "--checkpoint", "0"]


@pytest.fixture
def trained(tmp_path):
    drqfaiss.write_index(drqfaiss.IndexDRQ.from_codebooks(make_codebooks()), tmp_path / "trained.faiss")
    return tmp_path / "trained.faiss"


@pytest.fixture
def containers(tmp_path):
    """Trained index files of every kind that holds an IndexDRQ."""

    def make(description):
        index = drqfaiss.index_factory(16, description, progress=False, iterations=2)
        index.train(make_vectors(500))
        drqfaiss.write_index(index, tmp_path / "trained.faiss")
        return tmp_path / "trained.faiss"

    return make


@pytest.fixture
def checkpoint_always(monkeypatch):
    """Checkpoints may take all of the time."""
    monkeypatch.setattr("drqfaiss.build.MOST_TIME_WRITING", float("inf"))


class Interrupted(Exception):
    pass


class Failing:
    """Vectors that cannot be read from some row on."""

    def __init__(self, vectors, last):
        self.vectors, self.last = vectors, last
        self.shape, self.dtype = vectors.shape, vectors.dtype

    def __len__(self):
        return len(self.vectors)

    def __getitem__(self, rows):
        if rows.start >= self.last and rows.stop > rows.start + 1:  # single rows are the fingerprint's
            raise Interrupted
        return self.vectors[rows]


@pytest.mark.parametrize("description", ["DRQ3x4", "PCA8,DRQ3x4", "DRQ3x4,RFlat", "IVF4,DRQ3x4", "IVF4,Flat"])
def test_an_interrupted_build_goes_on(description, containers, tmp_path, checkpoint_always):
    if "DRQ" in description:
        trained = containers(description)
    else:
        index = faiss.index_factory(16, description)
        index.train(make_vectors(500))
        faiss.write_index(index, str(trained := tmp_path / "trained.faiss"))
    x = make_vectors(1_000)
    whole = build_index(trained, x, tmp_path / "whole.faiss", chunk=64)
    assert (whole.added, whole.resumed_at, whole.index.ntotal) == (1_000, 0, 1_000)
    with pytest.raises(Interrupted):
        build_index(trained, Failing(x, 600), tmp_path / "x.faiss", chunk=64, checkpoint_seconds=0)
    assert not (tmp_path / "x.faiss").exists()
    built = build_index(trained, x, tmp_path / "x.faiss", chunk=64)
    assert built.resumed_at == 640
    assert (tmp_path / "x.faiss").read_bytes() == (tmp_path / "whole.faiss").read_bytes()
    assert not (tmp_path / "x.faiss.build").exists()


def test_a_build_into_its_own_index_that_is_killed_at_the_very_end_adds_nothing_twice(
    trained, tmp_path, monkeypatch
):
    def killed(path):
        raise Interrupted

    x = make_vectors(300)
    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr("drqfaiss.build.shutil", SimpleNamespace(rmtree=killed))
            build_index(trained, x, trained, chunk=100)
    built = build_index(trained, x, trained, chunk=100)
    assert (built.resumed_at, drqfaiss.read_index(trained).ntotal) == (300, 300)
    assert [path.name for path in tmp_path.iterdir()] == ["trained.faiss"]


def wait_for_progress(path, process, before):
    while process.poll() is None and (not path.exists() or path.stat().st_mtime_ns == before):
        time.sleep(0.001)
    return path.stat().st_mtime_ns


def test_a_killed_build_ends_in_the_same_file(trained, tmp_path):
    np.save(tmp_path / "x.npy", make_vectors(2_000))
    build_index(trained, open_vectors(tmp_path / "x.npy"), tmp_path / "whole.faiss", chunk=20)
    checkpoint, seen = tmp_path / "x.faiss.build" / CHECKPOINT, 0
    for _ in range(3):
        process = subprocess.Popen(BUILDER, cwd=tmp_path, stdout=subprocess.PIPE)
        seen = wait_for_progress(checkpoint, process, seen)
        process.kill()
        process.stdout.close()
        assert process.wait() == -9
        assert not (tmp_path / "x.faiss").exists()
    built = build_index(trained, open_vectors(tmp_path / "x.npy"), tmp_path / "x.faiss", chunk=20)
    assert 0 < built.resumed_at < 2_000
    assert (tmp_path / "x.faiss").read_bytes() == (tmp_path / "whole.faiss").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"x.npy", "trained.faiss", "whole.faiss", "x.faiss"}


def test_checkpoints_get_rarer_where_writing_takes_long(trained, tmp_path, monkeypatch):
    written = []

    def slow_write(index, path):
        written.append(index.ntotal)
        time.sleep(0.05)
        drqfaiss.write_index(index, path)

    monkeypatch.setattr("drqfaiss.build.write_index", slow_write)
    build_index(trained, make_vectors(1_000), tmp_path / "x.faiss", chunk=10, checkpoint_seconds=0)
    # A second passes before the next one is due: the build of a moment has its first and its last one.
    assert written == [10, 1_000]


def interrupted(trained, output, x, **options):
    with pytest.raises(Interrupted):
        build_index(trained, Failing(x, 200), output, chunk=100, checkpoint_seconds=0, **options)


def test_another_build_is_not_mixed_in(trained, tmp_path, checkpoint_always):
    x, output = make_vectors(500), tmp_path / "x.faiss"
    interrupted(trained, output, x)
    other = drqfaiss.IndexDRQ.from_codebooks(make_codebooks(seed=1))
    drqfaiss.write_index(other, tmp_path / "other.faiss")
    for changed, arguments in {
        "vectors": (trained, make_vectors(500, seed=2), {}),
        "normalize": (trained, x, {"normalize": True}),
        "index": (tmp_path / "other.faiss", x, {}),
    }.items():
        with pytest.raises(ValueError, match=f"interrupted build with other {changed}, expected the same"):
            build_index(*arguments[:2], output, chunk=100, **arguments[2])
    with pytest.raises(ValueError, match="other chunk"):
        build_index(trained, x, output, chunk=50)
    restarted = build_index(trained, x, output, chunk=50, restart=True)
    assert (restarted.resumed_at, restarted.index.ntotal) == (0, 500)


def test_two_processes_cannot_build_the_same(trained, tmp_path):
    work = tmp_path / "x.faiss.build"
    work.mkdir()
    handle = os.open(work, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(RuntimeError, match="another process is at this build"):
        build_index(trained, make_vectors(10), tmp_path / "x.faiss")
    os.close(handle)
    assert build_index(trained, make_vectors(10), tmp_path / "x.faiss").added == 10


def test_indexes_and_vectors_that_do_not_fit_are_refused(trained, tmp_path):
    with pytest.raises(ValueError, match=r"got shape \(3, 5\), expected \(n, 16\)"):
        build_index(trained, np.zeros((3, 5), np.float32), tmp_path / "x.faiss")
    faiss.write_index(faiss.index_factory(16, "SQ8"), str(tmp_path / "untrained.faiss"))
    with pytest.raises(ValueError, match="not trained"):
        build_index(tmp_path / "untrained.faiss", make_vectors(3), tmp_path / "x.faiss")
    numbered = faiss.IndexIDMap2(faiss.IndexFlatL2(16))
    faiss.write_index(numbered, str(tmp_path / "numbered.faiss"))
    with pytest.raises(ValueError, match="IndexIDMap2, expected an index that numbers vectors itself"):
        build_index(tmp_path / "numbered.faiss", make_vectors(3), tmp_path / "x.faiss")
    with pytest.raises(ValueError, match="chunk: got 0"):
        build_index(trained, make_vectors(3), tmp_path / "x.faiss", chunk=0)
    assert {path.name for path in tmp_path.iterdir()} == {
        "trained.faiss",
        "untrained.faiss",
        "numbered.faiss",
    }


def test_a_sample_has_distinct_rows_in_file_order(tmp_path, monkeypatch):
    monkeypatch.setattr("drqfaiss.datasets.READ_ROWS", 7)
    x = np.arange(100, dtype=np.float64).reshape(50, 2)
    sample = sample_rows(x, 20, seed=1)
    assert (sample.shape, sample.dtype) == ((20, 2), np.float32)
    assert (np.diff(sample[:, 0]) > 0).all()
    assert not np.array_equal(sample, sample_rows(x, 20, seed=2))
    np.testing.assert_array_equal(sample_rows(x, 50), x)
