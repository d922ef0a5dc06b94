"""Fills an index from a file of vectors that need not fit into memory; goes on where it was interrupted."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss import _check
from drqfaiss import _fingerprint as fingerprint
from drqfaiss._faiss.ids import add_vectors, keeps_ids
from drqfaiss._faiss.io import read_index, write_index
from drqfaiss._faiss.tail import require_splittable, split_tail, with_tail
from drqfaiss._files import move_or_copy, remove_abandoned, require_writable, writing
from drqfaiss._progress import bar
from drqfaiss.datasets import VectorsOnDisk, finite_floats

CHUNK_ROWS = 65_536
CHECKPOINT_SECONDS = 60.0
MOST_TIME_WRITING = 0.05  # Checkpoints get rarer where writing takes a larger share of the time.
CHECKPOINT, CLAIM = "checkpoint.faiss", "build.json"
FORMAT = "drqfaiss.build"  # It tells our folders from others.
MOST_CLAIM_BYTES = 1 << 16
READ_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Built:
    """What a build did.

    Attributes:
        index: the filled index.
        added: rows of vectors in it that were not there at the start.
        resumed_at: rows that an interrupted build had left; 0 for a build in one go.
    """

    index: faiss.Index
    added: int
    resumed_at: int


def build_index(
    trained: str | os.PathLike[str],
    vectors: VectorsOnDisk,
    output: str | os.PathLike[str],
    *,
    normalize: bool = False,
    chunk: int = CHUNK_ROWS,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    restart: bool = False,
    progress: bool = True,
    hot_levels: int | None = None,
    ids: NDArray[np.int64] | None = None,
    before_output: Callable[[str], None] | None = None,
) -> Built:
    """Add vectors to an index read from a file and write the result to another file.

    Vectors are read a chunk at a time. The index so far is saved to the folder ``output.build`` now and then,
    always whole, so that a build that was killed at any moment goes on from there when it is called again
    with the same arguments, and ends in the same file. The folder is removed at the end, unless ``output`` is
    ``trained``: then it stays to say that these vectors are in, so that a repetition adds none of them twice.

    Args:
        trained: file of a trained index, empty or not; it is not changed unless it is ``output``, too.
        vectors: (n, d), memory-mapped or of an open HDF5 file: `datasets.open_vectors`.
        output: file for the filled index; it appears at the end, in one step.
        normalize: divide vectors by their norm, for cosine similarity by inner products.
        chunk: rows added at a time.
        checkpoint_seconds: time between checkpoints, at least; they never take more than 5% of the time.
        restart: discard what an earlier build left in the folder.
        progress: whether to show a bar on stderr, if that is a terminal.
        hot_levels: write the result as two files, see `split_tail`: an index of so many levels, and a side
            file of the others, ``output`` and ".tail". The whole index is in memory until then, and in the
            folder. None: one file.
        ids: (n,), the vectors' own ids, for an IndexIDMap or an index with inverted lists; None: the index
            numbers the vectors.
        before_output: is called with the SHA-256 of the result before ``output`` appears, so that what is
            noted there is noted before anybody finds the file; a repetition may call it again.

    Raises:
        TypeError, ValueError: vectors of another dimension or not finite, an index that is not trained, an
            interrupted build of other vectors, another index or another ``chunk`` in the folder, or a folder
            that is damaged or not of a build, in which nothing is touched.
        OSError: a file that cannot be read or written, or too little room for the codes.
        RuntimeError: another process is at this build, or a file is no FAISS index.
    """
    chunk = _check.integer("chunk", chunk, 1)
    index = read_index(trained)
    _check_index(index, vectors)
    _check_ids(index, vectors, ids)
    if hot_levels is not None:
        require_splittable(index, hot_levels)
    require_writable(output)
    build = _fingerprint(trained, vectors, normalize, chunk, ids)
    in_place = os.path.exists(output) and os.path.samefile(trained, output)
    if in_place and hot_levels is not None:
        raise ValueError(f"output: got {os.fspath(output)}, the trained index, expected another file")
    with _locked(Path(f"{os.fspath(output)}.build")) as work:
        claim = _claim(work, {**build, "before": index.ntotal}, output, restart)
        begun, finished = (work / CHECKPOINT).exists(), _is_moved(work, claim)
        if begun or finished:
            index = read_index(work / CHECKPOINT if begun else output)
        resumed_at = _resumed_at(work, index, claim, vectors)
        if not finished:
            try:
                _require_room(work, (len(vectors) - resumed_at) * index.sa_code_size())
            except OSError:
                if not begun:
                    _remove(work)
                raise
            save = _Saver(index, work / CHECKPOINT, checkpoint_seconds)
            with bar("adding", "vectors", len(vectors), resumed_at, progress) as shown:
                for rows in _chunks(vectors, resumed_at, chunk, normalize):
                    first = index.ntotal - claim["before"]
                    own = None if ids is None else np.array(ids[first : first + len(rows)])
                    add_vectors(index, rows, own)
                    shown.update(len(rows))
                    save.when_due()
            save.now()
            # Killed after this, the build finds its result in the output or its last checkpoint.
            result = file_digest(work / CHECKPOINT)
            _write_claim(work, {**claim, "result": result})
            if before_output is not None:
                before_output(result)
            if hot_levels is None:
                move_or_copy(work / CHECKPOINT, output)
            else:
                split_tail(index, hot_levels, output)
                (work / CHECKPOINT).unlink()
        if not in_place:
            _remove(work)
    return Built(index, len(vectors), resumed_at)


def _require_room(folder: Path, size: int) -> None:
    """Raise OSError where codes of so many bytes cannot be written: better now than after hours."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            errno.ENOSPC,
            f"no room: {free:,} bytes are free, expected at least {size:,} for codes",
            str(folder),
        )


class _Saver:
    """Writes checkpoints: not too often, and rarer where that takes long."""

    def __init__(self, index: faiss.Index, path: Path, seconds: float) -> None:
        self.index, self.path = index, path
        self.pause, self.last = seconds, time.monotonic()

    def when_due(self) -> None:
        """Write a checkpoint if the last one is long enough ago."""
        if time.monotonic() - self.last >= self.pause:
            self.now()

    def now(self) -> None:
        """Write a checkpoint."""
        began = time.monotonic()
        write_index(self.index, self.path)
        self.last = time.monotonic()
        self.pause = max(self.pause, (self.last - began) / MOST_TIME_WRITING)


def _check_index(index: faiss.Index, vectors: VectorsOnDisk) -> None:
    if not index.is_trained:
        raise ValueError("trained: got an index that is not trained, expected a trained one")
    if with_tail(index) is not None:
        raise ValueError(
            "trained: got an index with a side file, expected all levels in memory, see drqfaiss.join_tail"
        )
    if len(vectors.shape) != 2 or vectors.shape[1] != index.d:
        raise ValueError(f"vectors: got shape {vectors.shape}, expected (n, {index.d}) as the index has")


def _check_ids(index: faiss.Index, vectors: VectorsOnDisk, ids: NDArray[np.int64] | None) -> None:
    if ids is None:
        if isinstance(index, faiss.IndexIDMap):
            raise ValueError(
                f"trained: got {type(index).__name__}, expected an index that numbers vectors itself"
            )
        return
    if not keeps_ids(index):
        raise ValueError(
            f"ids: got them for {type(index).__name__}, expected an IndexIDMap or one with inverted lists"
        )
    if ids.shape != (len(vectors),) or ids.dtype != np.int64:
        raise ValueError(f"ids: got {ids.dtype} of shape {ids.shape}, expected int64 of ({len(vectors)},)")


@contextmanager
def _locked(work: Path) -> Iterator[Path]:
    """Hold the work folder; the system lets go of it when the process ends, however it ends."""
    handle = _open_folder(work)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"{work}: another process is at this build") from None
        if not (work.exists() and os.path.samestat(os.fstat(handle), work.stat())):
            raise RuntimeError(f"{work}: another process has just finished this build")
        yield work
    finally:
        os.close(handle)


def _open_folder(work: Path) -> int:
    try:
        work.mkdir(exist_ok=True)
        return os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileExistsError, NotADirectoryError):  # It is a file or a link.
        raise _foreign(work) from None


def _foreign(work: Path) -> ValueError:
    return ValueError(
        f"{work}: got something that no build has made, expected nothing or the folder of an interrupted "
        "build; nothing in it was touched"
    )


def _claim(
    work: Path, build: dict[str, Any], output: str | os.PathLike[str], restart: bool
) -> dict[str, Any]:
    """Make the folder one of this build.

    Returns the claim: `build` and, of a build that came to its last step, "result".

    Raises:
        ValueError: the folder holds another build, or was not made by one.
    """
    for name in (CLAIM, CHECKPOINT):
        remove_abandoned(work / name)
    found = _read_claim(work)
    if found is not None and not restart:
        done = "result" in found and os.path.isfile(output) and file_digest(output) == found["result"]
        # These two describe the index at its start, which is gone then.
        in_place = done and found["result"] == build["index"]
        changed = {"index", "before"} if in_place else set()
        differing = [name for name in build if name not in changed and found[name] != build[name]]
        moved = _is_moved(work, found)
        if not differing and (done or not moved):
            return found
        if not (done or moved):
            raise ValueError(
                f"{work}: got an interrupted build with other {', '.join(differing)}, expected the same; "
                "restart discards it"
            )
    (work / CHECKPOINT).unlink(missing_ok=True)
    return _write_claim(work, build)


def _is_moved(work: Path, claim: dict[str, Any]) -> bool:
    """Return whether the result of the build took the place of its output."""
    return "result" in claim and not (work / CHECKPOINT).exists()


def _read_claim(work: Path) -> dict[str, Any] | None:
    """Return what the folder says about its build; None if it is empty.

    Raises:
        ValueError: it was not made by a build, or is damaged.
    """
    if not os.listdir(work):
        return None
    path = work / CLAIM
    if not path.is_file() or any((work / name).is_symlink() for name in (CLAIM, CHECKPOINT)):
        raise _foreign(work)
    with open(path, "rb") as file:
        text = file.read(MOST_CLAIM_BYTES)
    try:
        claim = json.loads(text)
    except (ValueError, RecursionError):
        raise _foreign(work) from None
    if not isinstance(claim, dict) or claim.get("format") != FORMAT:
        raise _foreign(work)
    expected = {"index": str, "vectors": list, "normalize": bool, "chunk": int, "before": int}
    if "result" in claim:
        expected["result"] = str
    for name, kind in expected.items():
        if type(claim.get(name)) is not kind:
            raise ValueError(f"{path}: damaged: got {name} {claim.get(name)!r}, expected {kind.__name__}")
    return claim


def _resumed_at(work: Path, index: faiss.Index, claim: dict[str, Any], vectors: VectorsOnDisk) -> int:
    """Return how many vectors of the build are in an index."""
    resumed_at = index.ntotal - claim["before"]
    if index.d != vectors.shape[1] or not 0 <= resumed_at <= len(vectors):
        raise ValueError(
            f"{work}: damaged: got {index.ntotal} vectors of {index.d} dimensions, expected "
            f"{claim['before']} to {claim['before'] + len(vectors)} of {vectors.shape[1]}"
        )
    return resumed_at


def _write_claim(work: Path, claim: dict[str, Any]) -> dict[str, Any]:
    with writing(work / CLAIM) as file:
        file.write(json.dumps({"format": FORMAT, **claim}).encode())
    return claim


def _remove(work: Path) -> None:
    """Remove the folder, unless somebody else put something into it."""
    if os.listdir(work) == [CLAIM]:
        (work / CLAIM).unlink()
        work.rmdir()


def _fingerprint(
    trained: str | os.PathLike[str],
    vectors: VectorsOnDisk,
    normalize: bool,
    chunk: int,
    ids: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return what has to be the same for a build to go on."""
    return {
        "index": file_digest(trained),
        "vectors": sampled(vectors, ids),
        "normalize": normalize,
        "chunk": chunk,
    }


def sampled(vectors: VectorsOnDisk, ids: NDArray[np.int64] | None) -> list[Any]:
    """Return what tells vectors, and their ids, from others: their shape, and digests of some rows."""
    rows = fingerprint.compared_rows(len(vectors))
    sample = np.concatenate([vectors[i : i + 1] for i in rows.tolist()])
    of_ids = [] if ids is None else [fingerprint.digest(ids[rows])]
    return [list(vectors.shape), fingerprint.digest(sample), *of_ids]


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits."""
    content = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(READ_AT_ONCE):
            content.update(block)
    return content.hexdigest()


def _chunks(vectors: VectorsOnDisk, first: int, chunk: int, normalize: bool) -> Iterator[np.ndarray]:
    for start in range(first, len(vectors), chunk):
        yield finite_floats(vectors, slice(start, start + chunk), normalize)
