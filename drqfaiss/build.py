"""Fills an index from a file of vectors that need not fit into memory; goes on where it was interrupted."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from drqfaiss import _check as check
from drqfaiss import _fingerprint as fingerprint
from drqfaiss._files import writing
from drqfaiss._progress import bar
from drqfaiss.datasets import VectorsOnDisk, read_floats
from drqfaiss.io import read_index, write_index

CHUNK_ROWS = 65_536
CHECKPOINT_SECONDS = 60.0
MOST_TIME_WRITING = 0.05  # checkpoints get rarer where writing the index would take more of the time
CHECKPOINT, FINGERPRINT = "checkpoint.faiss", "build.json"


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
) -> Built:
    """Add vectors to an index read from a file and write the result to another file.

    Vectors are read a chunk at a time. The index so far is saved to the folder ``output.build`` now and then,
    always whole, so that a build that was killed at any moment goes on from there when it is called again
    with the same arguments, and ends in the same file. The folder is removed at the end.

    Args:
        trained: file of a trained index, empty or not; it is not changed unless it is ``output``, too.
        vectors: (n, d), memory-mapped or of an open HDF5 file: `datasets.open_vectors`.
        output: file for the filled index; it appears at the end, in one step.
        normalize: divide vectors by their norm, for cosine similarity by inner products.
        chunk: rows added at a time.
        checkpoint_seconds: time between checkpoints, at least; they never take more than 5% of the time.
        restart: discard what an interrupted build left.
        progress: whether to show a bar, if tqdm is installed and stderr is a terminal.

    Raises:
        TypeError, ValueError: vectors of another dimension or not finite, an index that is not trained, or an
            interrupted build of other vectors, another index or another ``chunk`` in the folder.
        OSError: a file that cannot be read or written.
        RuntimeError: another process is at this build, or a file is no FAISS index.
    """
    chunk = check.integer("chunk", chunk, 1)
    index = read_index(trained)
    _check_index(index, vectors)
    work = Path(f"{os.fspath(output)}.build")
    checkpoint = work / CHECKPOINT
    with _locked(work):
        begun = _claim(work, _fingerprint(trained, vectors, normalize, chunk), index.ntotal, restart)
        if checkpoint.exists():
            index = read_index(checkpoint)
        resumed_at = index.ntotal - begun["before"]
        save = _Saver(index, checkpoint, checkpoint_seconds)
        with bar("adding", "vectors", len(vectors), resumed_at, progress) as shown:
            for rows in _chunks(vectors, resumed_at, chunk, normalize):
                index.add(rows)
                shown.update(len(rows))
                save.when_due()
        save.now()
        # Killed after the next two lines, a build into its own index file would else add everything again.
        _write_claim(work, {**begun, "result": _hash(checkpoint)})
        os.replace(checkpoint, output)
        shutil.rmtree(work)
    return Built(index, len(vectors), resumed_at)


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
        raise ValueError("trained: the index is not trained, expected a trained one")
    if isinstance(index, faiss.IndexIDMap):
        raise ValueError(
            f"trained: got {type(index).__name__}, expected an index that numbers vectors itself"
        )
    if len(vectors.shape) != 2 or vectors.shape[1] != index.d:
        raise ValueError(f"vectors: got shape {vectors.shape}, expected (n, {index.d}) as the index has")


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Hold the work folder; the system lets go of it when the process ends, however it ends."""
    work.mkdir(exist_ok=True)
    handle = os.open(work, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"{work}: another process is at this build") from None
        yield
    finally:
        os.close(handle)


def _claim(work: Path, build: dict[str, Any], before: int, restart: bool) -> dict[str, Any]:
    """Make the folder one of this build, which finds `before` vectors in the index.

    Returns the claim: `build`, "before" and, of a build that was killed at its very end, "result".

    Raises:
        ValueError: the folder holds another build.
    """
    path = work / FINGERPRINT
    _remove_all(work, keep=() if restart else (FINGERPRINT, CHECKPOINT))
    if not path.exists():
        return _write_claim(work, {**build, "before": before})
    found: dict[str, Any] = json.loads(path.read_text())
    at_end = {"index": found["result"]} if found.get("result") == build["index"] else {}
    differing = [name for name in build if {**found, **at_end}.get(name) != build[name]]
    if differing:
        raise ValueError(
            f"{work}: got an interrupted build with other {', '.join(differing)}, expected the same; "
            "restart discards it"
        )
    return found


def _write_claim(work: Path, claim: dict[str, Any]) -> dict[str, Any]:
    with writing(work / FINGERPRINT) as file:
        file.write(json.dumps(claim).encode())
    return claim


def _remove_all(work: Path, keep: tuple[str, ...]) -> None:
    """Empty the folder: a process that was killed while writing leaves files behind."""
    for entry in work.iterdir():
        if entry.name not in keep:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _fingerprint(
    trained: str | os.PathLike[str], vectors: VectorsOnDisk, normalize: bool, chunk: int
) -> dict[str, Any]:
    """Return what has to be the same for a build to go on."""
    rows = fingerprint.compared_rows(len(vectors)).tolist()
    sample = np.concatenate([vectors[i : i + 1] for i in rows])
    return {
        "index": _hash(trained),
        "vectors": [list(vectors.shape), fingerprint.digest(sample)],
        "normalize": normalize,
        "chunk": chunk,
    }


def _hash(path: str | os.PathLike[str]) -> str:
    return hashlib.sha256(np.memmap(path, mode="r").data).hexdigest()


def _chunks(vectors: VectorsOnDisk, first: int, chunk: int, normalize: bool) -> Iterator[np.ndarray]:
    for start in range(first, len(vectors), chunk):
        rows = read_floats(vectors, slice(start, start + chunk), normalize)
        check.finite(f"vectors from row {start} on", rows)
        yield rows
