"""One shard's index, in this process or in that of an actor."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import faiss

from drqfaiss._faiss.ids import ids_in, keeps_ids
from drqfaiss._faiss.io import read_index
from drqfaiss._indexes.arrays import Floats, Ids
from drqfaiss._threads import on_threads
from drqfaiss.build import file_digest
from drqfaiss.distributed._changes import Change
from drqfaiss.distributed._codec import codec_digest
from drqfaiss.distributed._contents import written
from drqfaiss.distributed._manifest import ShardFile, span_of
from drqfaiss.distributed._query import Query


class Place(NamedTuple):
    """Where a shard is, and what its file must be.

    Attributes:
        path: the file.
        expected: what the manifest says; None: nothing does.
        codebook: digest of what encodes, see `codec_digest`; None: whatever the file has.
        checked: whether to compare the file with its SHA-256.
    """

    path: str
    expected: ShardFile | None
    codebook: str | None
    checked: bool


class Facts(NamedTuple):
    """What a shard tells about itself.

    Attributes:
        d: dimensions of a vector.
        metric: FAISS's metric.
        ntotal: number of vectors.
        keeps_ids: whether it holds ids of its own.
        maps_ids: whether they are names of places, so that ties are in the order of these.
        codebook: digest of what encodes.
        last_id: the greatest id.
    """

    d: int
    metric: int
    ntotal: int
    keeps_ids: bool
    maps_ids: bool
    codebook: str
    last_id: int


class Shard:
    """An index file, opened.

    Raises:
        OSError: the file cannot be read.
        ValueError, RuntimeError: it is not what it must be, or no index; names the file.
    """

    def __init__(self, place: Place) -> None:
        _require_file(place)
        self._index = read_index(place.path)
        self.facts = _facts(self._index, place.expected)
        if place.codebook is not None and self.facts.codebook != place.codebook:
            raise ValueError(
                f"{place.path}: got a shard of another codebook ({self.facts.codebook[:12]}), expected "
                f"{place.codebook[:12]} as the manifest says"
            )
        if place.expected is not None and self._index.ntotal != place.expected.vectors:
            raise ValueError(
                f"{place.path}: got {self._index.ntotal} vectors, expected {place.expected.vectors} as the "
                "manifest says"
            )

    def search(self, x: Floats, k: int, query: Query, first_id: int) -> tuple[Floats, Ids]:
        """Return distances and ids in the whole, (n, k), −1 where there is nothing."""
        D, ids = self._index.search(x, k, params=query.parameters(self._index, first_id))
        if first_id:
            ids[ids >= 0] += first_id
        return D, ids

    def change(self, change: Change) -> int:
        """Change the index; return how many vectors were added or removed."""
        return change.apply(self._index)

    def save(self, path: str) -> ShardFile:
        """Write the index to a file; return what is in it."""
        return written(self._index, Path(path))


class ActorShard:
    """A shard in a process of its own, which Ray starts again when it is lost.

    A new process knows nothing: every call says which file to have open, and after how many changes. What is
    behind answers `Behind`, and is told the changes that it lacks.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._path, self._done = "", 0
        self._shard: Shard | None = None

    def facts(self, place: Place) -> Facts:
        """Open the file; return what it tells."""
        return self._opened(place).facts

    def search(
        self, place: Place, changes: int, x: Floats, k: int, query: Query, first_id: int
    ) -> tuple[Floats, Ids] | Behind:
        """Search as `Shard.search` does."""
        shard = self._opened(place)
        if self._done < changes:
            return Behind(self._done)
        with on_threads(self._threads):
            return shard.search(x, k, query, first_id)

    def change(self, place: Place, changes: list[Change]) -> int:
        """Make those of all changes that are not made yet; return what the last one changed."""
        shard, changed = self._opened(place), 0
        with on_threads(self._threads):
            for change in changes[self._done :]:
                changed = shard.change(change)
                self._done += 1
        return changed

    def save(self, place: Place, changes: int, path: str) -> ShardFile | Behind:
        """Write the index to a file."""
        shard = self._opened(place)
        return Behind(self._done) if self._done < changes else shard.save(path)

    def moved(self, before: Place, changes: int, place: Place) -> None:
        """Take a file that holds the open one and these changes for it; others are opened when asked."""
        if (self._path, self._done) == (before.path, changes):
            self._path, self._done = place.path, 0

    def _opened(self, place: Place) -> Shard:
        if self._shard is None or self._path != place.path:
            self._shard, self._path, self._done = Shard(place), place.path, 0
        return self._shard


class Behind(NamedTuple):
    """The answer of a replica that has made fewer changes than the others."""

    done: int


def _facts(index: faiss.Index, expected: ShardFile | None) -> Facts:
    kept = keeps_ids(index)
    if expected is not None:
        last = expected.last_id
    else:
        last = span_of(ids_in(index))[1] if kept else index.ntotal - 1
    maps = isinstance(index, faiss.IndexIDMap)
    return Facts(index.d, index.metric_type, index.ntotal, kept, maps, codec_digest(index), last)


def _require_file(place: Place) -> None:
    """Require the file that the manifest describes, before FAISS reads it."""
    if place.expected is None:
        return
    size = Path(place.path).stat().st_size
    if size != place.expected.bytes:
        raise ValueError(
            f"{place.path}: got {size} bytes, expected {place.expected.bytes} as the manifest says: "
            "truncated?"
        )
    if place.checked and (found := file_digest(place.path)) != place.expected.sha256:
        raise ValueError(
            f"{place.path}: got a file of SHA-256 {found[:12]}…, expected {place.expected.sha256[:12]}… as "
            "the manifest says; damaged or of another index"
        )
