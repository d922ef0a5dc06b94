"""Measures searches of an index whose last levels are on disk: memory against recall and time, cold and warm.

The index is split (`drqfaiss.split_tail`) in a temporary folder beside it, or in ``--folder``, for each
number of levels in memory, and compared with itself, all levels in memory, at the same search. Results must
be the same, bit for bit. Warm times are CPU times of one thread, medians of runs in turns. Cold ones are by
the clock: the side file is opened anew and its rows are dropped from the system's cache before each run, and
queries of their own are asked once. Where the folder is in memory, cold is warm.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

# Spinning OpenMP threads distort every figure on a shared machine; libgomp reads this once, on loading.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy as np

import drqfaiss
from benchmarks.common.arguments import numbers
from drqfaiss._tail_file import open_tail
from drqfaiss.cli.options import VECTORS, Truth
from drqfaiss.cli.tables import lines, terminal
from drqfaiss.cli.timing import Task, best_times
from drqfaiss.cli.truth import open_filled, read_queries, read_truth
from drqfaiss.evaluation import intersection_at, recall_at

NORM_BYTES = 4  # What L2 searches keep of a vector beside its code.
COLD_QUERIES = 200


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    faiss.omp_set_num_threads(1)
    whole = open_filled(options.index)
    queries = read_queries(whole, options.queries, options.normalize)
    given = Truth(base=options.base, groundtruth=options.groundtruth)
    truth = read_truth(whole, queries, given, options.k, options.normalize)
    with tempfile.TemporaryDirectory(dir=options.folder or Path(options.index).parent) as folder:
        rows = [
            row for hot in options.hot for row in compare(whole, hot, Path(folder), queries, truth, options)
        ]
    rows.append(about(whole, whole.search(queries, options.k)[1], truth, options.k))
    page = {
        "index": f"{Path(options.index).name}, {whole.ntotal} vectors, {whole.rq.M} levels",
        "queries": len(queries),
        "simd": drqfaiss.simd_level(),
        "faiss": faiss.__version__,
        "rows": [{**dict.fromkeys(rows[0]), **row} for row in rows],
    }
    print("\n".join(lines(page, *terminal())))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("index", help="file of a filled IndexDRQ with all levels")
    parser.add_argument("queries", help=VECTORS)
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument("--groundtruth", help="exact neighbours: .ivecs, .npy or x.hdf5:neighbors")
    truth.add_argument("--base", help="the vectors in the index, in its order; they must fit into memory")
    parser.add_argument("--normalize", action="store_true", help="divide vectors by their norm")
    parser.add_argument("--hot", type=numbers, default=[8, 16], metavar="L,…", help="levels in memory")
    parser.add_argument(
        "--factors",
        type=numbers,
        default=[20, 50],
        metavar="F,…",
        help="refine_factor of searches",
    )
    parser.add_argument("-k", type=int, default=10, metavar="K", help="results of a search")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=0.2, metavar="S", help="of a warm run")
    parser.add_argument("--pack", action="store_true", help="keep the levels in memory packed, on both sides")
    parser.add_argument("--folder", help="where to write the two files")
    return parser.parse_args(arguments)


def compare(
    whole: drqfaiss.IndexDRQ,
    hot: int,
    folder: Path,
    queries: np.ndarray,
    truth: np.ndarray,
    options: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    """Yield a row for every factor."""
    path = folder / f"{hot}.faiss"
    drqfaiss.split_tail(whole, hot, path)
    parts = drqfaiss.read_index(path)
    if options.pack:
        whole.pack(hot)
        parts.pack()
    for factor in options.factors:
        params = drqfaiss.SearchParametersDRQ(hot, refine_factor=factor)
        found = [index.search(queries, options.k, params=params) for index in (whole, parts)]
        np.testing.assert_array_equal(found[1], found[0])
        warm = {
            name: best_times(
                tasks(whole, parts, options.k, params, single), queries, options.runs, options.seconds, name
            )
            for name, single in (("batch", False), ("single", True))
        }
        k, cold = (
            options.k,
            [cold_seconds(path, queries, options.k, params, start) for start in range(options.runs)],
        )
        yield {
            **about(parts, found[0][1], truth, k),
            "factor": factor,
            "µs batch": warm["batch"]["memory"].us,
            "warm batch/memory": warm["batch"]["disk"].us / warm["batch"]["memory"].us,
            "µs single": warm["single"]["memory"].us,
            "warm single/memory": warm["single"]["disk"].us / warm["single"]["memory"].us,
            "µs cold single": 1e6 * median(cold),
        }


def about(index: drqfaiss.IndexDRQ, ids: np.ndarray, truth: np.ndarray, k: int) -> dict[str, Any]:
    """Return what an index keeps in memory, in bytes a vector, and what it finds."""
    return {
        "levels in memory": index.rq.M,
        "bytes in memory": index.code_size + NORM_BYTES * (index.metric_type == faiss.METRIC_L2),
        f"1@{k}": recall_at(ids, truth, k),
        f"{k}@{k}": intersection_at(ids, truth, k),
    }


def tasks(
    whole: drqfaiss.IndexDRQ,
    parts: drqfaiss.IndexDRQ,
    k: int,
    params: drqfaiss.SearchParametersDRQ,
    single: bool,
) -> dict[str, Task]:
    """Return the same search of both indexes, of all queries at once or one by one."""

    def task(index: drqfaiss.IndexDRQ) -> Task:
        def one_by_one(rows: np.ndarray) -> None:
            for i in range(len(rows)):
                index.search(rows[i : i + 1], k, params=params)

        return Task(one_by_one if single else lambda rows: index.search(rows, k, params=params), own=True)

    return {"memory": task(whole), "disk": task(parts)}


def cold_seconds(
    path: Path, queries: np.ndarray, k: int, params: drqfaiss.SearchParametersDRQ, start: int
) -> float:
    """Return the time of a single query by the clock, the side file not in memory at first."""
    gc.collect()
    index = drqfaiss.read_index(path)
    index.refine_factor = None
    index.search(queries[:1], k)  # Computes the norms.
    header, _ = open_tail(f"{path}.tail")  # Reads some rows, as opening the index did.
    with open(f"{path}.tail", "rb") as file:
        os.posix_fadvise(file.fileno(), header.rows_at, 0, os.POSIX_FADV_DONTNEED)
    asked = [(start * COLD_QUERIES + i) % len(queries) for i in range(min(COLD_QUERIES, len(queries)))]
    began = time.perf_counter()
    for i in asked:
        index.search(queries[i : i + 1], k, params=params)
    return (time.perf_counter() - began) / len(asked)


if __name__ == "__main__":
    main()
