"""Build and search on many machines with Ray: a file and an actor per part of the vectors.

All parts share one trained index, so that distances compare, and a search returns what one index of all the
vectors would. Files are named as the machines see them: on one machine any folder, else one that all mount.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import faiss
import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check
from drqfaiss._faiss.io import read_index
from drqfaiss._fingerprint import compared_rows
from drqfaiss._indexes.arrays import Floats, Ids
from drqfaiss._indexes.settings import Setting, searched_with
from drqfaiss.build import CHUNK_ROWS, build_index
from drqfaiss.datasets import RowRange, finite_floats, open_vectors

try:
    import ray
except ImportError as error:
    raise ImportError("drqfaiss.distributed needs Ray: pip install 'drqfaiss[ray]'") from error


def build_shards(
    trained: str | os.PathLike[str],
    vectors: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    shards: int,
    *,
    normalize: bool = False,
    chunk: int = CHUNK_ROWS,
) -> list[str]:
    """Split vectors into successive parts, build the index of each in a Ray task and return their files.

    Parts that are done are not built again, and interrupted ones go on, when it is called again: see
    `build.build_index`.

    Args:
        trained: file of a trained, empty index.
        vectors: file of vectors (n, d), as `datasets.open_vectors` names it.
        folder: where the files go: ``shard-00.faiss``, …
        shards: number of parts, at most n.
        normalize: divide vectors by their norm.
        chunk: rows added at a time.

    Raises:
        ValueError: more parts than vectors, or what `build.build_index` refuses.
        OSError: a file that cannot be read or written.
    """
    n = len(open_vectors(os.fspath(vectors)))
    shards = _check.integer("shards", shards, 1, n)
    bounds = np.linspace(0, n, shards + 1).astype(int).tolist()
    files = [str(Path(folder) / f"shard-{i:02}.faiss") for i in range(shards)]
    options = {"normalize": normalize, "chunk": chunk, "progress": False}
    tasks = [
        _build.remote(os.fspath(trained), os.fspath(vectors), first, last, file, options)
        for first, last, file in zip(bounds, bounds[1:], files, strict=False)
    ]
    _get(tasks)
    return files


@ray.remote
def _build(trained: str, vectors: str, first: int, last: int, output: str, options: dict[str, Any]) -> None:
    part = RowRange(open_vectors(vectors), first, last)
    if os.path.exists(output) and not os.path.exists(f"{output}.build"):  # Nothing is left to be done.
        _check_shard(output, trained, part, options["normalize"])
        return
    build_index(trained, part, output, **options)


def _check_shard(output: str, trained: str, part: RowRange, normalize: bool) -> None:
    """Require that a file holds the codes of these vectors, as far as a sample of them tells."""
    held, wanted = read_index(output), len(part)
    if held.ntotal != wanted:
        raise ValueError(
            f"{output}: got {held.ntotal} vectors, expected {wanted}; remove it to build it again"
        )
    rows = compared_rows(wanted)
    expected = read_index(trained)
    expected.add(np.concatenate([finite_floats(part, slice(i, i + 1), normalize) for i in rows.tolist()]))
    if held.d != expected.d or not np.array_equal(_decoded(held, rows), _decoded(expected, range(len(rows)))):
        raise ValueError(
            f"{output}: got other vectors or those of another trained index, expected those to be built; "
            "remove it to build it again"
        )


def _decoded(index: faiss.Index, rows: Iterable[int]) -> Floats:
    lists = faiss.try_extract_index_ivf(index)
    if lists is not None:
        lists.make_direct_map()
    return np.stack([index.reconstruct(int(row)) for row in rows])


class _Shard:
    """The index of one part, in a process of its own."""

    def open(self, file: str, threads: int) -> tuple[int, int, int]:
        """Read the index; return dimensions, number of vectors and metric."""
        faiss.omp_set_num_threads(threads)
        # A constructor would not do: Ray does not pass on its errors as they are.
        self.index = read_index(file)
        return self.index.d, self.index.ntotal, self.index.metric_type

    def search(self, x: Floats, k: int, setting: Setting) -> tuple[Floats, Ids]:
        """Return distances and the part's own ids, (n, k)."""
        with searched_with(self.index, setting):
            return self.index.search(x, k)


class ShardedIndex:
    """Index files searched together, each by a Ray actor.

    Ray is started on this machine unless ``ray.init`` has been called. Use it in a ``with`` statement, or
    call `close`, to end the actors.

    Args:
        files: index files of successive parts of the vectors, as `build_shards` returns them.
        successive_ids: ids count through the parts, as in ``faiss.IndexShards``; False: the parts hold ids of
            their own (IndexIDMap).
        threads: OpenMP threads of each actor.

    Raises:
        ValueError: no file, or parts of different dimension or metric.
        OSError, RuntimeError: a file that cannot be read or is no index.
    """

    def __init__(
        self, files: Sequence[str | os.PathLike[str]], *, successive_ids: bool = True, threads: int = 1
    ) -> None:
        if not files:
            raise ValueError("files: got none, expected at least one index file")
        threads = _check.integer("threads", threads, 1)
        actor: Any = ray.remote(_Shard)
        paths = [os.path.abspath(os.fspath(file)) for file in files]
        self._shards = [actor.remote() for _ in paths]
        try:
            opened = zip(self._shards, paths, strict=True)
            shapes = _get([shard.open.remote(path, threads) for shard, path in opened])
            if len({(d, metric) for d, _, metric in shapes}) != 1:
                raise ValueError(f"files: got (d, vectors, metric) {shapes}, expected the same d and metric")
        except BaseException:
            self.close()
            raise
        self.d, self.metric_type = shapes[0][0], shapes[0][2]
        sizes = [size for _, size, _ in shapes]
        self.ntotal = sum(sizes)
        self._first_ids = np.cumsum([0, *sizes[:-1]]) if successive_ids else np.zeros(len(sizes), np.int64)

    def search(
        self,
        x: ArrayLike,
        k: int,
        *,
        levels: int | None = None,
        refine_levels: int | None = None,
        refine_factor: int | None = None,
        nprobe: int | None = None,
    ) -> tuple[Floats, Ids]:
        """Return distances and ids, (n, k), of the k nearest vectors of all parts, ties by id.

        With a second stage, every part ranks a shortlist of its own.

        Args:
            x: queries (n, d).
            k: how many; rows with fewer results end in id −1.
            levels: levels of the codes to compare; None: the index's default.
            refine_levels: levels to rank the nearest by, 0: all; None: the index's default.
            refine_factor: how many times as many vectors as results each part ranks, 0: no second stage;
                None: the index's default.
            nprobe: inverted lists to visit; None: the index's default.

        Raises:
            TypeError, ValueError: naming the argument and what was expected.
        """
        x, k = _check.vectors("x", x, self.d), _check.integer("k", k, 1)
        queries = ray.put(x)  # They are sent to a machine once, not to every actor.
        setting = Setting(levels, refine_levels, refine_factor, nprobe)
        parts = _get([shard.search.remote(queries, k, setting) for shard in self._shards])
        D = np.concatenate([distances for distances, _ in parts], axis=1)
        numbered = zip((ids for _, ids in parts), self._first_ids, strict=True)
        ids = np.concatenate([np.where(own < 0, -1, own + first) for own, first in numbered], axis=1)
        nearness = D if self.metric_type == faiss.METRIC_L2 else -D
        order = np.lexsort((ids, nearness, ids < 0), axis=1)[:, :k]
        return np.take_along_axis(D, order, axis=1), np.take_along_axis(ids, order, axis=1)

    def close(self) -> None:
        """End the actors. A second call does nothing."""
        while self._shards:
            ray.kill(self._shards.pop())

    def __enter__(self) -> ShardedIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _get(tasks: list[Any]) -> list[Any]:
    """Wait for results; an error of a task is raised as it was."""
    try:
        return ray.get(tasks)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
