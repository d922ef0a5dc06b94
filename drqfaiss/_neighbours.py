"""Exact neighbours to measure an index by: given ones, those in its base vectors, and checks of both."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from drqfaiss import _check
from drqfaiss._indexes.nested import indexes_in
from drqfaiss.evaluation import exact_neighbours

Ids = NDArray[np.int64]


def given_neighbours(name: str, neighbours: ArrayLike, index: faiss.Index, queries: int) -> Ids:
    """Return exact neighbours that somebody gives, (queries, ≥ 1), as ids of the index.

    Raises:
        TypeError, ValueError: naming what is wrong with them.
    """
    truth = _check.integers(name, neighbours, 2)
    require_rows(name, len(truth), queries)
    if not truth.shape[1] or truth[:, 0].min() < 0:
        raise ValueError(
            f"{name}: got a query without a neighbour, expected the id of the nearest in the first column"
        )
    known = _missing(truth, index)
    if known is not None:
        raise ValueError(f"{name}: got id {known}, expected ids of the {index.ntotal} vectors of the index")
    return truth


def base_neighbours(name: str, base: NDArray[np.float32], index: faiss.Index, queries: Any, k: int) -> Ids:
    """Return exact neighbours among the vectors that were added to the index, (queries, k), as its ids.

    Raises:
        ValueError: not as many vectors as the index has, or ids that say nothing about their order.
    """
    require_base(name, len(base), index)
    ids, ordered = stored_ids(index)
    if ids is not None and not ordered:
        raise ValueError(
            f"{name}: got vectors for an index with ids of its own, which do not say where each was in the "
            "base; expected exact neighbours by id"
        )
    rows = exact_neighbours(base, queries, k, index.metric_type)
    return rows if ids is None else ids[rows]


def require_rows(name: str, rows: int, queries: int) -> None:
    """Raise ValueError if there is not a row of neighbours for each query."""
    if rows != queries:
        raise ValueError(f"{name}: got {rows} rows, expected {queries}, one per query")


def require_base(name: str, vectors: int, index: faiss.Index) -> None:
    """Raise ValueError if there are not as many base vectors as the index has."""
    if vectors != index.ntotal:
        raise ValueError(
            f"{name}: got {vectors} vectors, expected the {index.ntotal} of the index, in its order"
        )


def stored_ids(index: faiss.Index) -> tuple[Ids | None, bool]:
    """Return the ids of an index's vectors, None for 0 to ntotal − 1, and whether in order of adding."""
    for part in indexes_in(index, searched=True):
        if isinstance(part, faiss.IndexIDMap):
            return faiss.vector_to_array(part.id_map), True
        if isinstance(part, faiss.IndexIVF):
            ids = np.sort(_ids_in_lists(part))
            return (None, True) if np.array_equal(ids, np.arange(index.ntotal)) else (ids, False)
    return None, True


def _ids_in_lists(ivf: faiss.IndexIVF) -> Ids:
    lists = ivf.invlists
    sizes = ((i, lists.list_size(i)) for i in range(ivf.nlist))
    return np.concatenate([_ids_of(lists, i, size) for i, size in sizes if size] or [np.empty(0, np.int64)])


def _ids_of(lists: faiss.InvertedLists, number: int, size: int) -> Ids:
    ids = lists.get_ids(number)
    try:
        return faiss.rev_swig_ptr(ids, size).copy()
    finally:
        lists.release_ids(number, ids)


def _missing(truth: Ids, index: faiss.Index) -> int | None:
    """Return an id that the index does not have, None if it has all; −1 is no id."""
    named = np.unique(truth[truth >= 0])
    ids, _ = stored_ids(index)
    unknown = named[named >= index.ntotal] if ids is None else np.setdiff1d(named, ids)
    return int(unknown[0]) if len(unknown) else None


def require_found(name: str, found: Ids, truth: Ids, index: faiss.Index) -> None:
    """Require that a search as thorough as can be finds more exact neighbours than by chance.

    Those of other vectors, of other ids or of another metric are found by chance.

    Args:
        name: what to call the neighbours in the error.
        found: ids of the search, (queries, k).
        truth: (queries, ≥ 1).
        index: that was searched.

    Raises:
        ValueError: it does not.
    """
    k = min(found.shape[1], truth.shape[1])
    hits = int((found[:, :k, None] == truth[:, None, :k]).sum())
    by_chance = len(found) * k * k / index.ntotal
    if 2 * k < index.ntotal and hits <= by_chance + 3 * by_chance**0.5:
        raise ValueError(
            f"{name}: got neighbours of which the index finds {hits} in {len(found) * k}, as by chance; "
            "expected those of the vectors in it, by its ids and metric"
        )
