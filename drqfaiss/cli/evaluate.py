"""Measure recall and search time of an index, for settings of your choice.

The exact neighbours come from a file (GROUNDTRUTH: ids, nearest first) or are found in the base vectors. A
row is a search for k: its recall and its time. 1@k is the share of queries whose nearest neighbour is among
the k found; k@k is the share of the k nearest neighbours that are.
"""

from __future__ import annotations

import argparse
from typing import Any

import faiss

from drqfaiss.cli import options as shared
from drqfaiss.cli.sweep import add_sweep, hidden, require_ranks, sweep, warning_of_spread
from drqfaiss.cli.tables import Rows
from drqfaiss.cli.truth import add_truth, open_filled, read_queries, read_truth


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``run`` reads."""
    parser.add_argument("index", help="index file")
    parser.add_argument("queries", help=shared.VECTORS_HELP)
    add_truth(parser)
    add_sweep(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return a row of recall and time for every setting."""
    index = open_filled(options.index)
    queries = read_queries(index, options)
    settings = shared.settings_of(options)
    for setting in settings:  # What is refused is refused before the work.
        setting.check(index)
    require_ranks(options.k, index.ntotal)
    truth = read_truth(index, queries, options, max(options.k))
    rows = sweep(index, queries, truth, settings, options)
    return {
        "index": options.index,
        "vectors": index.ntotal,
        "queries": len(queries),
        "threads": faiss.omp_get_max_threads(),
        "rows": Rows(warning_of_spread(rows), hidden=hidden(options)),
    }
