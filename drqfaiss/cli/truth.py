"""What commands measure an index by: queries and their exact neighbours."""

from __future__ import annotations

import faiss
import numpy as np

from drqfaiss._faiss.io import read_index
from drqfaiss._indexes.settings import searched_with, thorough
from drqfaiss._neighbours import base_neighbours, given_neighbours, require_base, require_found, require_rows
from drqfaiss.cli.options import Truth
from drqfaiss.cli.vectors import open_for
from drqfaiss.datasets import distance_of, finite_floats, metric_of, open_vectors

CHECKED_QUERIES = 200


def open_filled(name: str) -> faiss.Index:
    """Read an index that has vectors."""
    index = read_index(name)
    if not index.ntotal:
        raise ValueError(f"{name}: got an index without vectors, expected a filled one")
    return index


def read_queries(index: faiss.Index, name: str, normalize: bool) -> np.ndarray:
    """Return the queries, at least one."""
    queries = finite_floats(open_for(index, name), normalize=normalize)
    if not len(queries):
        raise ValueError(f"{name}: got no queries, expected at least one")
    return queries


def read_truth(index: faiss.Index, queries: np.ndarray, given: Truth, k: int, normalize: bool) -> np.ndarray:
    """Return exact neighbours, by ids of the index: those in a file, or k found in the base, if one is named.

    Raises:
        OSError, TypeError, ValueError: naming the file that is not what it should be.
    """
    name = given.base or given.groundtruth or ""
    if given.base is None:
        stored = open_vectors(name)
        _require_metric(name, index, normalize)
        require_rows(name, len(stored), len(queries))  # before they are read
        truth = given_neighbours(name, stored[:], index, len(queries))
    else:
        vectors = open_for(index, name)
        require_base(name, len(vectors), index)
        truth = base_neighbours(name, finite_floats(vectors, normalize=normalize), index, queries, k)
    with searched_with(index, thorough(index)):
        found = index.search(queries[:CHECKED_QUERIES], min(k, index.ntotal))[1]
    require_found(name, found, truth[:CHECKED_QUERIES], index)
    return truth


def _require_metric(name: str, index: faiss.Index, normalized: bool) -> None:
    """Require that neighbours in a file that says their metric are those of the index's."""
    distance = distance_of(name)
    if distance is None or normalized:  # Of normalised vectors both metrics have the same neighbours.
        return
    if metric_of(distance) != index.metric_type:
        expected = "euclidean" if index.metric_type == faiss.METRIC_L2 else "angular, ip or dot"
        raise ValueError(
            f"{name}: got neighbours by distance {distance!r}, expected {expected} as the index has"
        )
