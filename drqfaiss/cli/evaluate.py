"""Measure recall and search time of an index, for code lengths and numbers of lists of your choice.

The exact neighbours come from a file (GROUNDTRUTH: ids, nearest first) or are found in the base vectors.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from drqfaiss.cli import options as shared
from drqfaiss.cli.sweep import add_sweep, sweep
from drqfaiss.datasets import finite_floats, open_vectors
from drqfaiss.evaluation import exact_neighbours
from drqfaiss.io import read_index


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
    if options.base is None:
        truth = np.asarray(open_vectors(options.groundtruth)[:])
        if len(truth) != len(queries):
            raise ValueError(
                f"{options.groundtruth}: {len(truth)} rows, expected {len(queries)}, one per query"
            )
    else:
        base = finite_floats(shared.open_for(index, options.base), normalize=options.normalize)
        truth = exact_neighbours(base, queries, 1, index.metric_type)
    return {
        "index": options.index,
        "vectors": index.ntotal,
        "queries": len(queries),
        "rows": sweep(index, queries, truth, options),
    }
