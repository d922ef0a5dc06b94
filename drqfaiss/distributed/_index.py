"""``ShardedIndex``: the shards of a folder, searched and changed as one index."""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check
from drqfaiss._indexes.arrays import Floats, Ids
from drqfaiss.distributed._answers import Answer, MissingShardsError, Shards
from drqfaiss.distributed._changes import Added, Removed
from drqfaiss.distributed._local import LocalShards
from drqfaiss.distributed._manifest import (
    MANIFEST,
    NO_IDS,
    OWN,
    ROWS,
    TRAINED,
    Manifest,
    ShardFile,
    numbered,
    shard_name,
)
from drqfaiss.distributed._query import Query, chosen, shifted
from drqfaiss.distributed._shard import Facts, Place
from drqfaiss.distributed._sources import FileName

QUERIES_AT_ONCE = 1024
AHEAD = 4  # Batches that a shard may be ahead of the slowest one.
TIMEOUT = 60.0
OPENING = 600.0  # Seconds that a file may take to be read or written.


class _Pair(NamedTuple):
    distances: Floats
    ids: Ids


class Found(_Pair):
    """Distances and ids, (n, k), as a pair.

    Attributes:
        missing: the shards that did not answer, and why; only where a partial answer was asked for.
    """

    __module__ = "drqfaiss.distributed"  # Where users and pickles find it.
    missing: dict[str, str]

    def __new__(cls, distances: Floats, ids: Ids, missing: dict[str, str] | None = None) -> Found:
        found = super().__new__(cls, distances, ids)
        found.missing = missing or {}
        return found


class ShardedIndex:
    """The shards of a folder, searched together: by Ray actors, or in this process.

    `open` makes one. Use it in a ``with`` statement, or call `close`, to end the actors. Searches may come
    from several threads at once; changes must not meet anything else, as in FAISS.

    Attributes:
        d: dimensions of a vector.
        metric_type: FAISS's metric.
        missing: shards that could not be opened, and why; empty unless ``partial``.
    """

    def __init__(
        self, shards: Shards, places: list[Place], folder: Path | None, partial: bool, timeout: float
    ) -> None:
        self._shards, self._places, self._folder = shards, places, folder
        self._partial, self._timeout = partial, timeout
        told = shards.open(places, self._deadline(OPENING))
        self.missing = {
            place.path: str(fact)
            for place, fact in zip(places, told, strict=True)
            if isinstance(fact, Exception)
        }
        if self.missing and not partial:
            raise next(fact for fact in told if isinstance(fact, Exception))
        facts = [fact for fact in told if isinstance(fact, Facts)]
        if not facts:
            raise MissingShardsError(self.missing)
        self.d, self.metric_type, self._keeps_ids = facts[0].d, facts[0].metric, facts[0].keeps_ids
        self._codebook, self._ties_by_id = facts[0].codebook, not facts[0].maps_ids
        self._changed: set[int] = set()
        self._sizes = [_size(place, fact) for place, fact in zip(places, told, strict=True)]
        self._next_id = 1 + max(_last_id(place, fact) for place, fact in zip(places, told, strict=True))

    @classmethod
    def open(
        cls,
        source: FileName,
        *,
        ray: bool = True,
        address: str | None = None,
        replicas: int = 1,
        threads: int = 1,
        partial: bool = False,
        check: bool = True,
        timeout: float = TIMEOUT,
    ) -> ShardedIndex:
        """Open a folder of shards, or a single index file.

        Args:
            source: the folder, or a file, as all machines see it.
            ray: False opens all shards in this process, without Ray; searches find the same.
            address: of a Ray cluster to join; None starts one here, unless ``ray.init`` was called.
            replicas: actors of each shard: one answers while another is lost, and they share the load.
            threads: OpenMP threads of each actor; without Ray this process's count.
            partial: open and search without shards that are missing, instead of raising.
            check: compare files with the SHA-256 in the manifest when they are opened.
            timeout: seconds that a search or change waits for lost shards.

        Raises:
            OSError, ValueError, RuntimeError: a file that is missing, truncated, damaged, of another
                codebook or no index; names the file.
            ConnectionError: no cluster answers at the address.
            MissingShardsError: no shard can be opened, or not in time.
        """
        replicas, threads = _check.integer("replicas", replicas, 1), _check.integer("threads", threads, 1)
        timeout = _check.number("timeout", timeout)
        path = Path(os.path.abspath(source))
        folder = path if path.is_dir() else None
        places = [Place(str(path), None, None, False)] if folder is None else _places(path, check)
        if not ray:
            if replicas > 1:
                raise ValueError(f"replicas: got {replicas}, expected 1 without Ray")
            return cls(LocalShards(), places, folder, partial, timeout)
        from drqfaiss.distributed._actors import ActorShards
        from drqfaiss.distributed._ray import connect

        connect(address)
        shards = ActorShards(replicas, threads)
        try:
            return cls(shards, places, folder, partial, timeout)
        except BaseException:
            shards.close()
            raise

    @property
    def ntotal(self) -> int:
        """Number of vectors in all shards that are there."""
        return sum(self._sizes)

    @property
    def shards(self) -> dict[str, int]:
        """The number of vectors of each shard, by its file."""
        return {place.path: size for place, size in zip(self._places, self._sizes, strict=True)}

    def search(
        self,
        x: ArrayLike,
        k: int,
        *,
        levels: int | None = None,
        refine_levels: int | None = None,
        refine_factor: int | None = None,
        nprobe: int | None = None,
        only: Any = None,
        without: Any = None,
        partial: bool | None = None,
        timeout: float | None = None,
    ) -> Found:
        """Return distances and ids, (n, k), of the k nearest vectors of all shards.

        They are those of one index of all vectors, also where distances are equal. With a second stage every
        shard ranks a shortlist of its own, so that more is ranked than in one index, never less.

        Args:
            x: queries (n, d), finite.
            k: how many; rows with fewer results end in id −1.
            levels: levels of the codes to compare, 0: all; None: the index's default.
            refine_levels: levels to rank the nearest by, 0: all; None: the index's default.
            refine_factor: how many times as many vectors as results each shard ranks; None: the default.
            nprobe: inverted lists to visit; None: the index's default.
            only: ids that may be found: an array, or a range.
            without: ids that may not.
            partial: answer with what is there, and name what is missing; None: as the index was opened.
            timeout: seconds to wait for shards that are lost; None: as the index was opened.

        Raises:
            TypeError, ValueError: naming the argument and what was expected.
            MissingShardsError: shards did not answer in time, and ``partial`` is not set.
        """
        x, k = _check.vectors("x", x, self.d), _check.integer("k", k, 1)
        _check.finite("x", x)
        query = Query(
            levels,
            refine_levels,
            refine_factor,
            nprobe,
            None if only is None else chosen("only", only),
            None if without is None else chosen("without", without),
        )
        partial = self._partial if partial is None else partial
        deadline = self._deadline(timeout)
        missing: dict[str, str] = {}
        parts = [
            self._merged(answers, rows, k, deadline, missing) for rows, answers in self._asked(x, k, query)
        ]
        if missing and not partial:
            raise MissingShardsError(missing)
        D = np.concatenate([part[0] for part in parts] or [np.empty((0, k), np.float32)])
        ids = np.concatenate([part[1] for part in parts] or [np.empty((0, k), np.int64)])
        return Found(D, ids, missing)

    def _asked(self, x: Floats, k: int, query: Query) -> Iterator[tuple[int, list[Answer]]]:
        """Ask all shards for batch after batch, so that a slow one does not idle the others."""
        waiting = deque[tuple[int, list[Answer]]]()
        starts = np.cumsum([0, *self._sizes[:-1]]).tolist()
        first_ids = [0] * len(starts) if self._keeps_ids else starts
        for begin in range(0, len(x), QUERIES_AT_ONCE):
            batch = x[begin : begin + QUERIES_AT_ONCE]
            sent = self._shards.sent(batch)
            asked = [
                self._shards.search(i, sent, k, query, first)
                for i, first in enumerate(first_ids)
                if self._places[i].path not in self.missing
            ]
            waiting.append((len(batch), asked))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _merged(
        self, answers: list[Answer], rows: int, k: int, deadline: float, missing: dict[str, str]
    ) -> tuple[Floats, Ids]:
        """Return the k nearest of what the shards found; note those that do not answer."""
        missing.update(self.missing)
        found: list[tuple[Floats, Ids]] = []
        for answer in answers:
            try:
                found.append(answer.result(deadline))
            except MissingShardsError as error:
                missing.update(error.shards)
        if len(found) == 1:
            return found[0]
        worst = np.finfo(np.float32).max * (1 if self.metric_type == faiss.METRIC_L2 else -1)
        nothing = np.full((rows, k), worst, np.float32), np.full((rows, k), -1, np.int64)
        D = np.concatenate([distances for distances, _ in found] or [nothing[0]], axis=1)
        ids = np.concatenate([own for _, own in found] or [nothing[1]], axis=1)
        nearness = D if self.metric_type == faiss.METRIC_L2 else -D
        of_ties = (ids,) if self._ties_by_id else ()
        order = np.lexsort((*of_ties, nearness, ids < 0), axis=1)[:, :k]
        return np.take_along_axis(D, order, axis=1), np.take_along_axis(ids, order, axis=1)

    def add(self, x: ArrayLike, ids: ArrayLike | None = None) -> None:
        """Add vectors: to the smallest shard or, where ids count through the shards, to the last.

        They are in memory until `save`; an actor that is lost gets them again from this process.

        Args:
            x: vectors (n, d), finite.
            ids: their own (n,), where the shards hold ids; None: they are numbered.

        Raises:
            TypeError, ValueError: naming the argument and what was expected; nothing is added.
            MissingShardsError: the shard does not answer in time.
        """
        x = _check.vectors("x", x, self.d)
        _check.finite("x", x)
        named = self._ids_of(x, ids)
        if not len(x):
            return
        shard = int(np.argmin(self._sizes)) if self._keeps_ids else len(self._sizes) - 1
        self._require_all()
        self._shards.change(shard, Added(x, named), self._deadline(None))
        self._sizes[shard] += len(x)
        self._changed.add(shard)
        if named is not None:
            self._next_id = max(self._next_id, int(named.max()) + 1)

    def _ids_of(self, x: Floats, ids: ArrayLike | None) -> Ids | None:
        if not self._keeps_ids:
            if ids is not None:
                raise ValueError("ids: got some, expected None: the shards number their vectors")
            return None
        if ids is None:
            return np.arange(self._next_id, self._next_id + len(x), dtype=np.int64)
        named = _check.ids("ids", ids)
        if named.shape != (len(x),):
            raise ValueError(f"ids: got shape {named.shape}, expected ({len(x)},), one per vector")
        return named

    def remove_ids(self, ids: Any) -> int:
        """Remove vectors by their ids, an array or a range; return how many there were.

        Where ids count through the shards, those of later vectors move down, as in FAISS's flat indexes.

        Raises:
            TypeError: these are no ids; nothing is removed.
            MissingShardsError: a shard does not answer in time.
        """
        gone = chosen("ids", ids)
        self._require_all()
        starts = np.cumsum([0, *self._sizes[:-1]]).tolist()
        removed = []
        for i, first in enumerate(starts):
            own = gone if self._keeps_ids else shifted(gone, -first)
            removed.append(self._shards.change(i, Removed(own), self._deadline(None)))
        for i, count in enumerate(removed):
            self._sizes[i] -= count
            if count:
                self._changed.add(i)
        return sum(removed)

    def save(self, folder: FileName | None = None) -> None:
        """Write what has changed, into the folder or file that was opened, or all into another folder.

        A save that is interrupted leaves what was there before.

        Raises:
            ValueError: another folder that holds a manifest.
            OSError: a file cannot be written.
            MissingShardsError: a shard is missing, or does not answer in time.
        """
        self._require_all()
        if folder is None and self._folder is None:
            if self._changed:
                self._save_shard(0, self._places[0].path)
            self._changed.clear()
            return
        here = folder is None or (
            self._folder is not None and Path(folder).resolve() == self._folder.resolve()
        )
        place = Path(os.path.abspath(folder)) if folder is not None else self._folder
        assert place is not None
        if here:
            self._save_changed(place)
        else:
            self._save_all(place)

    def _save_shard(self, i: int, path: str) -> ShardFile:
        return self._shards.save(i, path, self._deadline(OPENING))

    def _save_changed(self, place: Path) -> None:
        manifest = Manifest.read(place)
        files, old = [*manifest.shards], list[str]()
        for i in sorted(self._changed):
            old.append(files[i].file)
            files[i] = self._save_shard(i, str(place / _next_name(files[i].file)))
        self._take(numbered(replace(manifest, shards=tuple(files))), place)
        for name in old:
            (place / name).unlink(missing_ok=True)

    def _save_all(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        if (place / MANIFEST).exists():
            raise ValueError(f"{place}: got a folder with a manifest, expected another, or None")
        if self._folder is not None:
            shutil.copyfile(self._folder / TRAINED, place / TRAINED)
        files = [self._save_shard(i, str(place / shard_name(i))) for i in range(len(self._places))]
        metric = _check.METRIC_NAMES[self.metric_type]
        ids = OWN if self._keeps_ids else ROWS
        self._take(numbered(Manifest(self.d, metric, self._codebook, ids, tuple(files))), place)

    def _take(self, manifest: Manifest, place: Path) -> None:
        """Write a manifest, and go on with its files."""
        manifest.write(place)
        self._folder = place
        self._places = [
            Place(str(place / shard.file), shard, manifest.codebook, old.checked)
            for shard, old in zip(manifest.shards, self._places, strict=True)
        ]
        for i, new in enumerate(self._places):
            self._shards.moved(i, new)
        self._changed.clear()

    def close(self) -> None:
        """End the actors. A second call does nothing."""
        self._shards.close()

    def __enter__(self) -> ShardedIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self._timeout if timeout is None else _check.number("timeout", timeout))

    def _require_all(self) -> None:
        if self.missing:
            raise MissingShardsError(self.missing)


def _places(folder: Path, check: bool) -> list[Place]:
    manifest = Manifest.read(folder)
    return [Place(str(folder / shard.file), shard, manifest.codebook, check) for shard in manifest.shards]


def _size(place: Place, fact: Facts | Exception) -> int:
    """Return how many vectors a shard has; of one that is missing those whose numbers it takes."""
    if isinstance(fact, Facts):
        return fact.ntotal
    return 0 if place.expected is None else place.expected.vectors


def _last_id(place: Place, fact: Facts | Exception) -> int:
    if isinstance(fact, Facts):
        return fact.last_id
    return NO_IDS[1] if place.expected is None else place.expected.last_id


def _next_name(name: str) -> str:
    """Return the name of a shard's next version: of shard-1.faiss, of shard-1.1.faiss and so on."""
    stem, *number = name.removesuffix(".faiss").rsplit(".", 1)
    return f"{stem}.{int(number[0]) + 1 if number else 1}.faiss"
