"""Builds that are interrupted, even killed while they write, end in the file of an unbroken build."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import time

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss import build
from drqfaiss.build import CHECKPOINT, build_index
from drqfaiss.datasets import open_vectors, sample_rows
from tests.indexes import make_codebooks, make_vectors
from tests.ivf_indexes import make_ivf
from tests.readers import reading_in_background

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


@pytest.mark.parametrize("call", ["move_or_copy", "_remove"])
@pytest.mark.parametrize("output", ["trained.faiss", "x.faiss"])
def test_a_build_that_ends_in_its_last_steps_adds_nothing_twice(call, output, trained, tmp_path, monkeypatch):
    def killed(*arguments):
        raise Interrupted

    x = make_vectors(300)
    for _ in range(2):
        with monkeypatch.context() as patch, contextlib.suppress(Interrupted):
            patch.setattr(f"drqfaiss.build.{call}", killed)
            build_index(trained, x, tmp_path / output, chunk=100)
    built = build_index(trained, x, tmp_path / output, chunk=100)
    assert (built.resumed_at, built.index.ntotal, drqfaiss.read_index(tmp_path / output).ntotal) == (300,) * 3
    left = {"trained.faiss.build"} if output == "trained.faiss" else {"x.faiss"}
    assert {path.name for path in tmp_path.iterdir()} == {"trained.faiss", *left}


def test_a_build_into_its_own_index_is_not_repeated_but_others_follow(trained, tmp_path):
    x, other = make_vectors(300), make_vectors(200, seed=1)
    link = tmp_path / "link.faiss"
    link.symlink_to(trained)
    for vectors, resumed_at, total in (
        (x, 0, 300),
        (x, 300, 300),
        (other, 0, 500),
        (other, 200, 500),
        (x, 0, 800),
    ):
        built = build_index(link, vectors, trained)
        assert (built.resumed_at, built.index.ntotal) == (resumed_at, total)
    assert build_index(trained, x, trained, restart=True).index.ntotal == 1_100
    index = drqfaiss.read_index(trained)
    index.remove_ids(np.arange(100))
    drqfaiss.write_index(index, trained)  # it is another one now
    assert build_index(trained, x, trained).index.ntotal == 1_300


@pytest.mark.parametrize("content", ["files", "link", "file", "dangling", "linked claim", "other claim"])
@pytest.mark.parametrize("restart", [False, True])
def test_what_no_build_has_made_is_refused_and_stays(content, restart, trained, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis").write_text("precious")
    work = tmp_path / "x.faiss.build"
    if content == "files":
        (work / "sources").mkdir(parents=True)
        (work / "sources" / "main.c").write_text("precious")
    elif content == "link":
        work.symlink_to(precious)
    elif content == "dangling":
        work.symlink_to("nothing")
    elif content == "file":
        work.write_text("precious")
    else:
        work.mkdir()
        (work / "build.json").write_text('{"format": "theirs"}' if content == "other claim" else "")
        (work / "checkpoint.faiss").write_text("precious")
    if content == "linked claim":
        (precious / "build.json").write_text('{"format": "drqfaiss.build"}')
        (work / "build.json").unlink()
        (work / "build.json").symlink_to(precious / "build.json")
    before = snapshot(tmp_path)
    with pytest.raises(ValueError, match=r"x\.faiss\.build: got something that no build has made"):
        build_index(trained, make_vectors(10), tmp_path / "x.faiss", restart=restart)
    assert snapshot(tmp_path) == before


def snapshot(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else os.path.islink(path)
        for path in sorted(folder.rglob("*"))
    }


def test_what_others_put_into_a_builds_folder_stays(trained, tmp_path, checkpoint_always):
    x, work = make_vectors(500), tmp_path / "x.faiss.build"
    interrupted(trained, tmp_path / "x.faiss", x)
    (work / "notes").write_text("precious")
    assert build_index(trained, x, tmp_path / "x.faiss", chunk=100).resumed_at == 200
    assert {path.name for path in work.iterdir()} == {"build.json", "notes"}
    assert build_index(trained, x, tmp_path / "x.faiss", chunk=100).resumed_at == 500  # it is finished
    assert build_index(trained, x[:400], tmp_path / "x.faiss").index.ntotal == 400
    assert (work / "notes").read_text() == "precious"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"before": None}, "got before None, expected int"),
        ({"before": -1}, "interrupted build with other before"),
        ({"before": True}, "got before True, expected int"),
        ({"vectors": "x"}, "got vectors 'x', expected list"),
        ({"result": 3}, "got result 3, expected str"),
        ({"format": None}, "no build has made"),
    ],
)
def test_a_damaged_folder_is_refused(change, message, trained, tmp_path, checkpoint_always):
    x, claim = make_vectors(500), tmp_path / "x.faiss.build" / "build.json"
    interrupted(trained, tmp_path / "x.faiss", x[:])
    index = drqfaiss.IndexDRQ.from_codebooks(make_codebooks())
    index.add(x[:200])
    drqfaiss.write_index(index, claim.with_name(CHECKPOINT))
    index.add(x)
    with pytest.raises(ValueError, match="damaged: got 700 vectors of 16 dimensions, expected 0 to 500 of"):
        drqfaiss.write_index(index, claim.with_name(CHECKPOINT))
        build_index(trained, x, tmp_path / "x.faiss", chunk=100)
    claim.write_text(json.dumps({**json.loads(claim.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        build_index(trained, x, tmp_path / "x.faiss", chunk=100)


@pytest.mark.parametrize(
    "content", [b"", b"[" * 60_000, b"\xff", b"[]", b'{"format": ' + b"9" * 5_000 + b"}"]
)
def test_a_claim_that_is_no_json_is_refused(content, trained, tmp_path):
    (tmp_path / "x.faiss.build").mkdir()
    (tmp_path / "x.faiss.build" / "build.json").write_bytes(content)
    with pytest.raises(ValueError, match="no build has made"):
        build_index(trained, make_vectors(10), tmp_path / "x.faiss")


def test_an_output_is_replaced_as_other_files_are(trained, tmp_path):
    x = make_vectors(100)
    private, linked, pipe = (tmp_path / name for name in ("private.faiss", "linked.faiss", "pipe"))
    private.touch(0o600)
    (tmp_path / "second.faiss").touch()
    linked.hardlink_to(tmp_path / "second.faiss")
    os.mkfifo(pipe)
    expected = build_index(trained, x, private).index
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    build_index(trained, x, linked)
    with reading_in_background(pipe) as got:
        build_index(trained, x, pipe)
    whole = faiss.serialize_index(expected).tobytes()
    assert private.read_bytes() == (tmp_path / "second.faiss").read_bytes() == got[0] == whole
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".build")]


def test_an_output_that_cannot_be_written_is_refused_before_the_work(trained, tmp_path):
    (tmp_path / "folder").mkdir()
    for output, kind in {"folder": IsADirectoryError, "none/x.faiss": FileNotFoundError}.items():
        with pytest.raises(kind, match=output):
            build_index(trained, make_vectors(10), tmp_path / output)
    assert {path.name for path in tmp_path.iterdir()} == {"trained.faiss", "folder"}


def wait_for_progress(path, process, before):
    while process.poll() is None and (not path.exists() or path.stat().st_mtime_ns == before):
        time.sleep(0.001)
    return path.stat().st_mtime_ns


def test_codes_that_will_not_fit_are_refused_before_the_work(trained, tmp_path, monkeypatch):
    vectors = tmp_path / "x.npy"
    np.save(vectors, make_vectors(500))
    free = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr("drqfaiss.build.shutil.disk_usage", lambda _: free)
    with pytest.raises(
        OSError, match=r"no room: 100 bytes are free, expected at least .* for codes"
    ) as caught:
        build_index(trained, open_vectors(vectors), tmp_path / "out.faiss", progress=False)
    assert caught.value.errno == errno.ENOSPC
    assert {path.name for path in tmp_path.iterdir()} == {"trained.faiss", "x.npy"}


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


def test_a_build_may_end_in_two_files(trained, tmp_path, checkpoint_always, monkeypatch):
    x, output = make_vectors(90), tmp_path / "x.faiss"
    build_index(trained, x, tmp_path / "whole.faiss", progress=False)
    whole = drqfaiss.read_index(tmp_path / "whole.faiss")
    monkeypatch.setattr(build, "split_tail", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_index(trained, x, output, progress=False, chunk=20, hot_levels=2)
    monkeypatch.undo()
    built = build_index(trained, x, output, progress=False, chunk=20, hot_levels=2)
    assert (built.resumed_at, built.index.ntotal) == (90, 90)
    assert sorted(path.name for path in tmp_path.glob("x.*")) == ["x.faiss", "x.faiss.tail"]
    parts = drqfaiss.read_index(output)
    assert (parts.rq.M, parts.tail_levels) == (2, whole.rq.M - 2)
    params = drqfaiss.SearchParametersDRQ(2, refine_factor=20)
    np.testing.assert_array_equal(parts.search(x[:5], 3)[1], whole.search(x[:5], 3, params=params)[1])
    with pytest.raises(ValueError, match="trained: got an index with a side file"):
        build_index(output, x, tmp_path / "y.faiss", progress=False)


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_levels_in_memory_are_checked_before_the_work(trained, tmp_path):
    x = make_vectors(9)
    with pytest.raises(ValueError, match="levels: got 99, expected"):
        build_index(trained, x, tmp_path / "x.faiss", progress=False, hot_levels=99)
    with pytest.raises(ValueError, match=r"output: got .*, the trained index"):
        build_index(trained, x, trained, progress=False, hot_levels=2)
    assert not (tmp_path / "x.faiss").exists()


def test_a_sample_has_distinct_rows_in_file_order(tmp_path, monkeypatch):
    monkeypatch.setattr("drqfaiss.datasets.READ_ROWS", 7)
    x = np.arange(100, dtype=np.float64).reshape(50, 2)
    sample = sample_rows(x, 20, seed=1)
    assert (sample.shape, sample.dtype) == ((20, 2), np.float32)
    assert (np.diff(sample[:, 0]) > 0).all()
    assert not np.array_equal(sample, sample_rows(x, 20, seed=2))
    np.testing.assert_array_equal(sample_rows(x, 50), x)


def with_ids(kind):
    index = drqfaiss.IndexDRQ.from_codebooks(make_codebooks())
    return faiss.IndexIDMap(index) if kind == "map" else make_ivf(0)


@pytest.mark.parametrize("kind", ["map", "lists"])
def test_vectors_keep_ids_of_their_own(kind, tmp_path, monkeypatch):
    x, ids = make_vectors(100), np.random.default_rng(0).permutation(1_000)[:100]
    drqfaiss.write_index(with_ids(kind), tmp_path / "trained.faiss")
    arguments = (tmp_path / "trained.faiss", x, tmp_path / "x.faiss")
    noted = []
    add = build.add_vectors
    monkeypatch.setattr(build, "add_vectors", lambda *given: add(*given) if len(noted) < 2 else 1 / 0)
    monkeypatch.setattr(build, "_chunks", lambda *given, chunks=build._chunks: counted(chunks(*given), noted))
    options = {"chunk": 30, "checkpoint_seconds": 0, "progress": False}
    with pytest.raises(ZeroDivisionError):
        build_index(*arguments, **options, ids=ids)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="with other vectors, expected the same"):
        build_index(*arguments, **options, ids=ids[::-1].copy())
    told = []
    built = build_index(*arguments, **options, ids=ids, before_output=told.append)
    assert built.resumed_at == 30
    assert told == [build.file_digest(tmp_path / "x.faiss")]
    expected = with_ids(kind)
    expected.add_with_ids(x, ids)
    np.testing.assert_array_equal(
        faiss.serialize_index(drqfaiss.read_index(tmp_path / "x.faiss")), faiss.serialize_index(expected)
    )


def counted(chunks, noted):
    for chunk in chunks:
        noted.append(len(chunk))
        yield chunk


def test_ids_need_an_index_that_keeps_them(trained, tmp_path):
    with pytest.raises(ValueError, match="ids: got them for IndexDRQ, expected an IndexIDMap or one with"):
        build_index(trained, make_vectors(3), tmp_path / "x.faiss", ids=np.arange(3))
    drqfaiss.write_index(with_ids("map"), trained)
    for ids in (np.arange(2), np.arange(3, dtype=np.int32)):
        with pytest.raises(ValueError, match=r"ids: got int\d\d of shape"):
            build_index(trained, make_vectors(3), tmp_path / "x.faiss", ids=ids)
