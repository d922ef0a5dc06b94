"""Compares quantizers at equal bytes: training, encoding, memory, recall and search time, in one table.

Without ``--data`` it uses the descriptors of ``photographs.py``. Progress goes to stderr, the table to
stdout; the table, all figures as JSON and two plots are saved in the output folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Spinning OpenMP threads distort every figure on a shared machine; libgomp reads this once, on loading.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy as np
import report
import vectors
from methods import Method, choose, code_bytes, memory_bytes
from report import Row
from timing import Task, Timing, best_times
from tqdm import tqdm

import drqfaiss
from drqfaiss.datasets import Dataset
from drqfaiss.evaluation import exact_neighbours, recall_at

RANKS = (1, 10, 100)
Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data = prepare(options)
    rows, searches = [], {}
    for method in options.chosen:
        for row, search in build(method, data, options):
            rows.append(row)
            searches[row.label] = search
    measure_search(rows, searches, data, options)
    header = report.header(data, vars(options))
    print(report.save(Path(options.out), header, rows))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    vectors.add_options(parser)
    vectors.add_timing_options(parser)
    parser.add_argument("--metric", choices=vectors.METRICS, help="default: what the file says, else l2")
    parser.add_argument("--methods", type=_names, default="drq,pq,opq,rq,pqfs", help="also: lsq")
    parser.add_argument("--bytes", type=_numbers, default="2,4,6,8", help="code lengths; DRQ trains one")
    parser.add_argument("--scale", type=_names, default="level", help="of DRQ: geometric, level, vector")
    parser.add_argument("--rq-beam", type=int, default=5, help="of RQ, training and encoding")
    parser.add_argument("--k", type=int, default=10, help="neighbours asked for when timing a search")
    parser.add_argument("--threads", type=int, default=1, help="to encode and search; training takes all")
    parser.add_argument("--out", default="demo-out", help="output folder")
    options = parser.parse_args(arguments)
    try:
        options.chosen = choose(options.methods, options.scale, options.rq_beam, options.seed)
    except ValueError as error:
        parser.error(str(error))
    return options


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return sorted(int(number) for number in text.split(","))


def prepare(options: argparse.Namespace) -> Dataset:
    """Load the data and see that it has exact neighbours."""
    data = vectors.load(options, vectors.METRICS.get(options.metric))
    if data.groundtruth is None:
        say(f"exact neighbours of {len(data.query):,} queries in {len(data.base):,} vectors")
        data.groundtruth = exact_neighbours(data.base, data.query, k=1, metric=data.metric)
    return data


def build(method: Method, data: Dataset, options: argparse.Namespace) -> Iterator[tuple[Row, Search]]:
    """Train, time the encoding and fill; yield (row, search function) for every code length."""
    for length in options.bytes[-1:] if method.own else options.bytes:
        index = method.make(data.d, length, data.metric)
        say(f"{method.name}: training for {length} bytes on {len(data.learn):,} vectors")
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        start = time.perf_counter()
        index.train(data.learn)
        train_s = time.perf_counter() - start
        encode = time_encoding(method, index, data, options)
        index.add(data.base)
        for used in options.bytes if method.own else [length]:
            row = Row(
                method=method.name,
                code_bytes=used if method.own else code_bytes(index),
                memory_bytes=memory_bytes(method, index),
                train_s=train_s,
                encode_us=encode.us,
                encode_simd=encode.simd,
            )
            yield row, search_function(method, index, used)


def search_function(method: Method, index: faiss.Index, levels: int) -> Search:
    if not method.own:
        return index.search
    parameters = drqfaiss.SearchParametersDRQ(levels=levels)
    return lambda queries, k: index.search(queries, k, params=parameters)


def time_encoding(method: Method, index: faiss.Index, data: Dataset, options: argparse.Namespace) -> Timing:
    def encode(rows: np.ndarray) -> None:
        index.add(rows)
        index.reset()

    tasks = {method.name: Task(encode, method.own, options.threads)}
    return best_times(tasks, data.base, options.runs, options.seconds, "encode")[method.name]


def measure_search(
    rows: list[Row], searches: dict[str, Search], data: Dataset, options: argparse.Namespace
) -> None:
    """Fill in recall and search times, all methods timed in turns."""
    own = {row.label: row.encode_simd is None for row in rows}
    tasks = {
        label: Task(lambda queries, search=search: search(queries, options.k), own[label], options.threads)
        for label, search in searches.items()
    }
    timings = best_times(tasks, data.query, options.runs, options.seconds, "search")
    for row in tqdm(rows, desc="recall", unit="method"):
        ids = searches[row.label](data.query, min(max(RANKS), len(data.base)))[1]
        row.recall = {k: recall_at(ids, data.groundtruth, min(k, ids.shape[1])) for k in RANKS}
        row.search_us, row.search_simd = timings[row.label].us, timings[row.label].simd


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
