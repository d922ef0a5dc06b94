"""Measure recall and search time of an index, for code lengths and numbers of lists of your choice.

The exact neighbours come from a file (GROUNDTRUTH: ids, nearest first) or are found in the base vectors.
"""

from __future__ import annotations

import argparse
from typing import Any

import faiss
import numpy as np

from drqfaiss import _check
from drqfaiss._faiss.io import read_index
from drqfaiss.cli import options as shared
from drqfaiss.cli.sweep import add_sweep, sweep
from drqfaiss.datasets import finite_floats, open_vectors
from drqfaiss.evaluation import exact_neighbours


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``run`` reads."""
    parser.add_argument("index", help="index file")
    parser.add_argument("queries", help=shared.VECTORS_HELP)
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument("--groundtruth", help="exact neighbours: .ivecs, .npy or x.hdf5:neighbors")
    truth.add_argument("--base", help="the vectors in the index, in its order; they must fit into memory")
    shared.add_normalize(parser)
    add_sweep(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return a row of recall and time for every setting."""
    index = read_index(options.index)
    queries = finite_floats(shared.open_for(index, options.queries), normalize=options.normalize)
    if not len(queries):
        raise ValueError(f"{options.queries}: got no queries, expected at least one")
    truth = (
        _given(options.groundtruth, len(queries)) if options.base is None else _found(index, queries, options)
    )
    return {
        "index": options.index,
        "vectors": index.ntotal,
        "queries": len(queries),
        "rows": sweep(index, queries, truth, options),
    }


def _given(name: str, queries: int) -> np.ndarray:
    """Return the exact neighbours that a file holds."""
    stored = open_vectors(name)
    if len(stored) != queries:
        raise ValueError(f"{name}: got {len(stored)} rows, expected {queries}, one per query")
    truth = _check.integers(name, stored[:], 2)
    if not truth.shape[1] or truth[:, 0].min() < 0:
        raise ValueError(
            f"{name}: got a query without a neighbour, expected the id of the nearest in the first column"
        )
    return truth


def _found(index: faiss.Index, queries: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """Return the exact neighbours among the vectors of the index."""
    vectors = shared.open_for(index, options.base)
    if len(vectors) != index.ntotal:
        raise ValueError(
            f"{options.base}: got {len(vectors)} vectors, expected the {index.ntotal} of the index, in its "
            "order"
        )
    base = finite_floats(vectors, normalize=options.normalize)
    return exact_neighbours(base, queries, min(max(options.ranks), index.ntotal), index.metric_type)
