"""Where vectors come from: files, arrays, iterators of arrays and Ray Datasets, cut into parts for shards.

A part can be sent to another process. It opens there as vectors whose slices are read when they are taken.
"""

from __future__ import annotations

import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drqfaiss import _check
from drqfaiss.datasets import RowRange, VectorsOnDisk, open_vectors, read_vectors, sample_rows

FileName: TypeAlias = str | os.PathLike[str]
PATTERN = "*?["
ids_array: TypeAlias = NDArray[np.int64]


class Files:
    """The vectors of several files one after the other, as vectors of their own."""

    def __init__(self, names: Sequence[str]) -> None:
        self._files = [open_vectors(name) for name in names]
        shapes = [file.shape[1:] for file in self._files]
        for name, shape in zip(names, shapes, strict=True):
            if shape != shapes[0]:
                raise ValueError(
                    f"{name}: got vectors of shape {shape}, expected {shapes[0]} as in {names[0]}"
                )
        self.filename = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        self._starts = np.cumsum([0, *map(len, self._files)])
        self.shape, self.dtype = (int(self._starts[-1]), *shapes[0]), self._files[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Read a slice of rows."""
        start, stop, step = rows.indices(len(self))
        if stop <= start:
            return self._files[0][:0]
        first, last = np.searchsorted(self._starts, [start, stop - 1], side="right") - 1
        pieces = [
            self._files[i][max(0, start - begin) : stop - begin]
            for i, begin in enumerate(self._starts.tolist()[:-1])
            if first <= i <= last
        ]
        return (pieces[0] if len(pieces) == 1 else np.concatenate(pieces))[::step]


@dataclass(frozen=True)
class FilePart:
    """Rows of files.

    Attributes:
        names: the files.
        first: first row.
        last: row after the last.
        ids: the rows' own ids, or a file of all ids, or None.
    """

    names: tuple[str, ...]
    first: int
    last: int
    ids: str | ids_array | None

    def __len__(self) -> int:
        return self.last - self.first

    def open(self) -> tuple[VectorsOnDisk, ids_array | None]:
        """Return vectors and ids."""
        rows: Any = RowRange(Files(self.names), self.first, self.last)
        if self.ids is None:
            return rows, None
        ids = read_ids(self.ids) if isinstance(self.ids, str) else self.ids
        return rows, ids[self.first : self.last]


@dataclass(frozen=True)
class ArrayPart:
    """An array in memory."""

    vectors: np.ndarray
    ids: ids_array | None

    def __len__(self) -> int:
        return len(self.vectors)

    def open(self) -> tuple[VectorsOnDisk, ids_array | None]:
        """Return vectors and ids."""
        return self.vectors, self.ids


@dataclass(frozen=True)
class DatasetPart:
    """Rows of a Ray Dataset, which are read where the shard is built; they have to fit into its memory."""

    dataset: Any
    column: str
    id_column: str | None

    def __len__(self) -> int:
        return self.dataset.count()

    def open(self) -> tuple[VectorsOnDisk, ids_array | None]:
        """Return vectors and ids."""
        batches = [*self.dataset.iter_batches(batch_format="numpy", batch_size=65_536)]
        vectors = np.concatenate([_stacked(batch, self.column) for batch in batches])
        if self.id_column is None:
            return vectors, None
        return vectors, _check.ids("ids", np.concatenate([batch[self.id_column] for batch in batches]))


Part: TypeAlias = FilePart | ArrayPart | DatasetPart


def _stacked(batch: dict[str, np.ndarray], column: str) -> np.ndarray:
    if column not in batch:
        raise ValueError(f"column: got {column!r}, expected one of {', '.join(map(repr, batch))}")
    return np.stack([*batch[column]]).astype(np.float32)


class Source(ABC):
    """Vectors, and ids if there are any of the user's own."""

    d: int
    has_ids: bool

    @abstractmethod
    def sample(self, count: int) -> np.ndarray:
        """Return about so many vectors to train on, (n, d)."""

    @abstractmethod
    def parts(self, shards: int | None, shard_rows: int | None) -> Iterator[Part]:
        """Yield successive parts: so many, or of so many rows."""


class FileSource(Source):
    """One file or several."""

    def __init__(self, names: Sequence[str], ids: Any) -> None:
        self._names = tuple(names)
        self._files: Any = Files(self._names)
        if len(self._files.shape) != 2:
            raise ValueError(f"{self._files.filename}: got shape {self._files.shape}, expected (n, d)")
        self.d = self._files.shape[1]
        self._ids = os.path.abspath(ids) if isinstance(ids, str | os.PathLike) else ids
        self.has_ids = ids is not None
        if self._ids is not None:
            found = read_ids(self._ids) if isinstance(self._ids, str) else _check.ids("ids", self._ids)
            _require_as_many(found, len(self._files))
            self._ids = self._ids if isinstance(self._ids, str) else found

    def sample(self, count: int) -> np.ndarray:
        """Return random rows of all files."""
        return sample_rows(self._files, count)

    def parts(self, shards: int | None, shard_rows: int | None) -> Iterator[Part]:
        """Yield ranges of rows."""
        for first, last in cuts(len(self._files), shards, shard_rows):
            yield FilePart(self._names, first, last, self._ids)


class ArraySource(Source):
    """Arrays that come one after the other, alone or each with its ids."""

    def __init__(self, arrays: Iterable[Any]) -> None:
        self._rest, self._read = iter(arrays), list[tuple[np.ndarray, ids_array | None]]()
        first = next(self._rest, None)
        if first is None:
            raise ValueError("vectors: got an iterator of nothing, expected arrays")
        self.has_ids, self.d = isinstance(first, tuple), 0
        self._read.append(self._checked(first))

    def _checked(self, item: Any) -> tuple[np.ndarray, ids_array | None]:
        if isinstance(item, tuple) != self.has_ids:
            raise TypeError("vectors: got arrays with and without ids, expected all (vectors, ids) or none")
        vectors, ids = item if self.has_ids else (item, None)
        rows = _check.floats("vectors", vectors, 2)
        self.d = self.d or rows.shape[1]
        rows = _check.vectors("vectors", rows, self.d)
        if ids is not None:
            ids = _check.ids("ids", ids)
            _require_as_many(ids, len(rows))
        return rows, ids

    def sample(self, count: int) -> np.ndarray:
        """Return the first rows: an iterator has no others yet."""
        while sum(len(rows) for rows, _ in self._read) < count:
            item = next(self._rest, None)
            if item is None:
                break
            self._read.append(self._checked(item))
        return np.concatenate([rows for rows, _ in self._read])[:count]

    def parts(self, shards: int | None, shard_rows: int | None) -> Iterator[Part]:
        """Yield parts of so many rows."""
        if shard_rows is None:
            raise ValueError("shard_rows: got None, expected the rows of a shard: an iterator has no length")
        pending, count = list[tuple[np.ndarray, ids_array | None]](), 0
        for rows, ids in self._items():
            while len(rows):
                taken = min(shard_rows - count, len(rows))
                pending.append((rows[:taken], None if ids is None else ids[:taken]))
                rows, ids, count = rows[taken:], None if ids is None else ids[taken:], count + taken
                if count == shard_rows:
                    yield _joined(pending)
                    pending, count = [], 0
        if pending:
            yield _joined(pending)

    def _items(self) -> Iterator[tuple[np.ndarray, ids_array | None]]:
        yield from self._read
        self._read = []
        yield from map(self._checked, self._rest)


class DatasetSource(Source):
    """A Ray Dataset with a column of vectors."""

    def __init__(self, dataset: Any, column: str, id_column: str | None) -> None:
        self._dataset = dataset.materialize()
        self._column, self._id_column, self.has_ids = column, id_column, id_column is not None
        (row,) = self._dataset.take(1)
        for name in filter(None, (column, id_column)):
            if name not in row:
                raise ValueError(f"column: got {name!r}, expected one of {', '.join(map(repr, row))}")
        self.d = len(row[column])

    def sample(self, count: int) -> np.ndarray:
        """Return random rows."""
        share = min(1.0, count / max(1, self._dataset.count()))
        chosen = self._dataset.random_sample(share, seed=0) if share < 1 else self._dataset
        return np.concatenate(
            [_stacked(batch, self._column) for batch in chosen.iter_batches(batch_format="numpy")]
        )

    def parts(self, shards: int | None, shard_rows: int | None) -> Iterator[Part]:
        """Yield ranges of rows, each a Dataset of its own."""
        bounds = cuts(self._dataset.count(), shards, shard_rows)
        for part in self._dataset.split_at_indices([last for _, last in bounds[:-1]]):
            yield DatasetPart(part, self._column, self._id_column)


def source_of(vectors: Any, ids: Any, column: str) -> Source:
    """Return a source of what a user names.

    Raises:
        FileNotFoundError, TypeError, ValueError: naming what was expected.
    """
    if hasattr(vectors, "split_at_indices") and hasattr(vectors, "iter_batches"):
        if not (ids is None or isinstance(ids, str)):
            raise TypeError(f"ids: got {_check.shown(ids)}, expected the name of the dataset's column of ids")
        return DatasetSource(vectors, column, ids)
    names = file_names(vectors)
    if names:
        return FileSource(names, ids)
    if ids is not None:
        raise TypeError("ids: got them beside arrays, expected (vectors, ids) from the iterator")
    if isinstance(vectors, np.ndarray) or not isinstance(vectors, Iterable):
        raise TypeError(
            f"vectors: got {_check.shown(vectors)}, expected files, an iterable of arrays or a Ray Dataset"
        )
    return ArraySource(vectors)


def file_names(vectors: Any) -> list[str]:
    """Return the absolute names of files; none if these are no names.

    Raises:
        FileNotFoundError: a pattern that fits no file.
    """
    if isinstance(vectors, str | os.PathLike):
        return _matching(os.fspath(vectors))
    named = isinstance(vectors, list | tuple) and all(isinstance(name, str | os.PathLike) for name in vectors)
    return [file for name in vectors for file in _matching(os.fspath(name))] if named else []


def _matching(name: str) -> list[str]:
    if os.path.exists(name) or not any(sign in name for sign in PATTERN):
        return [os.path.abspath(name)]
    found = sorted(glob.glob(name, recursive=True))
    if not found:
        raise FileNotFoundError(f"{name}: no such files")
    return [os.path.abspath(file) for file in found]


def read_ids(name: str) -> ids_array:
    """Memory-map a file of ids, .npy or .ivecs, (n,) or (n, 1)."""
    found = np.load(name, mmap_mode="r", allow_pickle=False) if name.endswith(".npy") else read_vectors(name)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError(f"{name}: got {found.dtype} of shape {found.shape}, expected integers, (n,)")
    return found if found.dtype == np.int64 else found.astype(np.int64)


def cuts(n: int, shards: int | None, shard_rows: int | None) -> list[tuple[int, int]]:
    """Return first and last rows of so many parts, or of parts of so many rows."""
    if (shards is None) == (shard_rows is None):
        raise ValueError(f"shards: got {shards} and shard_rows {shard_rows}, expected one of them")
    if shards is not None:
        bounds = np.linspace(0, n, _check.integer("shards", shards, 1, n) + 1).astype(int).tolist()
    else:
        bounds = [*range(0, n, _check.integer("shard_rows", shard_rows, 1)), n]
    return [*pairwise(bounds)]


def _joined(pieces: list[tuple[np.ndarray, ids_array | None]]) -> ArrayPart:
    rows = np.concatenate([rows for rows, _ in pieces])
    ids = [ids for _, ids in pieces if ids is not None]
    return ArrayPart(rows, np.concatenate(ids) if ids else None)


def _require_as_many(ids: ids_array, vectors: int) -> None:
    if ids.shape != (vectors,):
        raise ValueError(f"ids: got shape {ids.shape}, expected ({vectors},), one per vector")
