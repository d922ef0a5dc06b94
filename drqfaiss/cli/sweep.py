"""Recall and time of an index at every setting of its search, for `drqfaiss eval` and `drqfaiss bench`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import faiss
import numpy as np

from drqfaiss._indexes.flat import IndexDRQ
from drqfaiss._indexes.settings import Setting, searched_with
from drqfaiss.cli import options as shared
from drqfaiss.cli.timing import Task, Timing, best_times
from drqfaiss.evaluation import intersection_at, recall_at

LARGE_SPREAD = 0.25  # Of a median, between the fastest and the slowest run.


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add what ``sweep`` reads."""
    shared.add_settings(parser, swept=True)
    parser.add_argument(
        "-k",
        type=shared.several(shared.positive),
        default="10",
        metavar="K,…",
        help="neighbours of a search, which is timed and of which recall is told (default: 10)",
    )
    parser.add_argument(
        "--runs",
        type=shared.positive,
        default=5,
        metavar="N",
        help="timed runs, of which the median counts (default: 5)",
    )
    parser.add_argument(
        "--seconds",
        type=shared.seconds,
        default=0.2,
        metavar="S",
        help="length of a timed run (default: 0.2)",
    )


def hidden(options: argparse.Namespace) -> list[str]:
    """Return the columns of settings that were not asked for."""
    return [name for name in shared.SETTINGS if getattr(options, name) is None]


def require_ranks(ranks: Sequence[int], vectors: int) -> None:
    """Require no more neighbours than there are vectors."""
    if max(ranks) > vectors:
        raise ValueError(f"-k: got {max(ranks)}, expected at most the {vectors} vectors to search in")


def sweep(
    index: faiss.Index,
    queries: np.ndarray,
    truth: np.ndarray,
    settings: Sequence[Setting],
    options: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    """Yield recall and µs per query of the searches of every setting, when they are measured.

    k@k is None where `truth` has fewer than k neighbours. FAISS's own indexes are timed at every SIMD
    level of the wheel and quoted at the best. One thread's time is CPU time, several threads' the clock's.
    """
    for setting in settings:
        for k in options.k:
            with searched_with(index, setting):
                ids = index.search(queries, k)[1]
                timing = _time(index, queries, k, options)
            yield {
                **setting._asdict(),
                "k": k,
                "recall_1_at_1": recall_at(ids, truth, 1),
                "recall_1_at_k": recall_at(ids, truth, k),
                "recall_k_at_k": intersection_at(ids, truth, k) if k <= truth.shape[1] else None,
                "us_per_query": timing.us,
                "spread_percent": round(100 * timing.spread) if options.runs > 1 else None,
                "faiss_simd": timing.simd,
            }


def _time(index: faiss.Index, queries: np.ndarray, k: int, options: argparse.Namespace) -> Timing:
    task = Task(
        lambda rows: index.search(rows, k),
        own=isinstance(index, IndexDRQ),
        threads=faiss.omp_get_max_threads(),
    )
    return best_times({"": task}, queries, options.runs, options.seconds, "timing", shown=False)[""]


def warning_of_spread(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Hand rows on, and say at the end on stderr if times of the same search were far apart."""
    spreads = []
    for row in rows:
        spreads.append(row["spread_percent"] or 0)
        yield row
    large = sum(spread > 100 * LARGE_SPREAD for spread in spreads)
    if large:
        print(
            f"warning: {large} of {len(spreads)} times differ by more than {LARGE_SPREAD:.0%} between runs, "
            f"by {max(spreads)}% at most: this machine is busy. --threads 1 counts CPU time.",
            file=sys.stderr,
        )
