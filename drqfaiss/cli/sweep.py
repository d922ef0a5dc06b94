"""Recall and time of an index at every setting of its search, for `drqfaiss eval` and `drqfaiss bench`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import faiss
import numpy as np

from drqfaiss._indexes.flat import IndexDRQ
from drqfaiss._indexes.settings import Setting, searched_with
from drqfaiss.cli.options import SETTINGS, Sweep
from drqfaiss.cli.timing import Task, Timing, best_times
from drqfaiss.evaluation import intersection_at, recall_at

LARGE_SPREAD = 0.25  # Of a median, between the fastest and the slowest run.


def hidden(options: Sweep) -> list[str]:
    """Return the columns of settings that were not asked for."""
    return [name for name in SETTINGS if getattr(options.settings, name) is None]


def require_ranks(ranks: Sequence[int], vectors: int) -> None:
    """Require no more neighbours than there are vectors."""
    if max(ranks) > vectors:
        raise ValueError(f"-k: got {max(ranks)}, expected at most the {vectors} vectors to search in")


def sweep(
    index: faiss.Index,
    queries: np.ndarray,
    truth: np.ndarray,
    settings: Sequence[Setting],
    options: Sweep,
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


def _time(index: faiss.Index, queries: np.ndarray, k: int, options: Sweep) -> Timing:
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
