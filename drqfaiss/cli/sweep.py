"""Recall and time of an index at every setting of its search, for `drqfaiss eval` and `drqfaiss bench`."""

from __future__ import annotations

import argparse
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import faiss
import numpy as np

from drqfaiss._indexes.flat import IndexDRQ
from drqfaiss._indexes.settings import set_levels, set_nprobe
from drqfaiss.cli import options as shared
from drqfaiss.cli.timing import Task, best_times
from drqfaiss.evaluation import intersection_at, recall_at

RANKS = "1,10,100"


class Setting(NamedTuple):
    """Of a search; None is the index's own."""

    levels: int | None
    nprobe: int | None

    def apply(self, index: faiss.Index) -> None:
        """Search with this setting from now on."""
        set_levels(index, self.levels)
        set_nprobe(index, self.nprobe)


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add what ``sweep`` reads."""
    parser.add_argument(
        "--levels",
        type=shared.numbers,
        default=[None],
        metavar="N,…",
        help="code lengths, such as 2,4,8 (default: all levels)",
    )
    parser.add_argument(
        "--nprobe",
        type=shared.numbers,
        default=[None],
        metavar="N,…",
        help="inverted lists to look into, such as 1,4,16",
    )
    parser.add_argument(
        "--ranks",
        type=shared.numbers,
        default=RANKS,
        metavar="K,…",
        help=f"k of 1@k and k@k (default: {RANKS})",
    )
    parser.add_argument(
        "-k", type=shared.positive, default=10, metavar="K", help="neighbours of a timed search (default: 10)"
    )
    parser.add_argument(
        "--runs",
        type=shared.positive,
        default=3,
        metavar="N",
        help="timed runs, of which the median counts (default: 3)",
    )
    parser.add_argument(
        "--seconds",
        type=shared.seconds,
        default=0.2,
        metavar="S",
        help="length of a timed run (default: 0.2)",
    )


def sweep(
    index: faiss.Index, queries: np.ndarray, truth: np.ndarray, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return levels, nprobe, 1@k, k@k and µs per query of every setting.

    k@k is None where `truth` has fewer than k neighbours. FAISS's own indexes are timed at every SIMD
    level of the wheel and quoted at the best. One thread's time is CPU time, several threads' the clock's.
    """
    settings = [Setting(*values) for values in product(options.levels, options.nprobe)]
    for setting in settings:  # A number out of range is an error before the first measurement.
        setting.apply(index)
    times = best_times(
        {
            str(setting): Task(
                lambda rows: index.search(rows, options.k),
                own=isinstance(index, IndexDRQ),
                threads=faiss.omp_get_max_threads(),
                prepare=partial(setting.apply, index),
            )
            for setting in settings
        },
        queries,
        options.runs,
        options.seconds,
        "timing",
    )
    rows = []
    for setting in settings:
        setting.apply(index)
        most = min(max(options.ranks), index.ntotal)
        ids = index.search(queries, most)[1]
        timing = times[str(setting)]
        found = recalls(ids, truth, options.ranks)
        rows.append({**setting._asdict(), **found, "µs/query": timing.us, "FAISS SIMD": timing.simd})
    return rows


def recalls(ids: np.ndarray, truth: np.ndarray, ranks: list[int]) -> dict[str, float | None]:
    """Return 1@k of all ranks, then k@k of those above 1."""
    most = ids.shape[1]
    shares: dict[str, float | None] = {f"1@{k}": recall_at(ids, truth, min(k, most)) for k in ranks}
    for k in ranks:
        if k > 1:
            known = min(k, most) <= truth.shape[1]
            shares[f"{k}@{k}"] = intersection_at(ids, truth, min(k, most)) if known else None
    return shares
