"""What commands measure an index by: queries and their exact neighbours."""

from __future__ import annotations

import argparse

import faiss
import numpy as np

from drqfaiss._faiss.io import read_index
from drqfaiss._indexes.settings import searched_with, thorough
from drqfaiss._neighbours import base_neighbours, given_neighbours, require_base, require_found, require_rows
from drqfaiss.cli import options as shared
from drqfaiss.datasets import distance_of, finite_floats, metric_of, open_vectors

CHECKED_QUERIES = 200


def add_truth(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add what ``read_truth`` reads."""
    truth = parser.add_mutually_exclusive_group(required=required)
    truth.add_argument("--groundtruth", help="exact neighbours: .ivecs, .npy or x.hdf5:neighbors")
    truth.add_argument("--base", help="the vectors in the index, in its order; they must fit into memory")
    shared.add_normalize(parser)


def open_filled(name: str) -> faiss.Index:
    """Read an index that has vectors."""
    index = read_index(name)
    if not index.ntotal:
        raise ValueError(f"{name}: got an index without vectors, expected a filled one")
    return index


def read_queries(index: faiss.Index, options: argparse.Namespace) -> np.ndarray:
    """Return the queries, at least one."""
    queries = finite_floats(shared.open_for(index, options.queries), normalize=options.normalize)
    if not len(queries):
        raise ValueError(f"{options.queries}: got no queries, expected at least one")
    return queries


def read_truth(index: faiss.Index, queries: np.ndarray, options: argparse.Namespace, k: int) -> np.ndarray:
    """Return exact neighbours, by ids of the index: those in a file, or k found in the base.

    Raises:
        OSError, TypeError, ValueError: naming the file that is not what it should be.
    """
    if options.base is None:
        name = options.groundtruth
        stored = open_vectors(name)
        _require_metric(name, index, options.normalize)
        require_rows(name, len(stored), len(queries))  # before they are read
        truth = given_neighbours(name, stored[:], index, len(queries))
    else:
        name = options.base
        vectors = shared.open_for(index, name)
        require_base(name, len(vectors), index)
        truth = base_neighbours(name, finite_floats(vectors, normalize=options.normalize), index, queries, k)
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
