"""Compares inverted-file indexes: recall against queries per second, ours beside FAISS's, at equal bytes.

Every index has the same coarse centroids. Without ``--data`` it uses the descriptors of
``benchmarks.common.photographs``. Progress goes to stderr, the tables to stdout; they, all figures as JSON
and the curves are saved in the output folder, named after the data.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

# Spinning OpenMP threads distort every figure on a shared machine; libgomp reads this once, on loading.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
from tqdm import tqdm

from benchmarks.common import vectors
from benchmarks.common.arguments import ascending, names
from benchmarks.ivf import report as ivf_report
from benchmarks.ivf.curves import Point
from benchmarks.ivf.methods import Builder, Method, Search, all_methods, choose, searches
from drqfaiss.cli.timing import Task, Timing, best_times
from drqfaiss.datasets import Dataset
from drqfaiss.evaluation import exact_neighbours, recall_at

# Results asked for, and the recalls a search for so many is judged by.
RANKS = {10: (1, 10), 100: (100,)}
Key = tuple[str | tuple[str, int], ...]  # name of a method, and its search parameters


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data = vectors.load(options, vectors.METRICS.get(options.metric))
    if data.groundtruth is None:
        data.groundtruth = exact_neighbours(data.base, data.query, k=1, metric=data.metric)
    known = all_methods(data.d, data.metric, options.nlist, options.bytes, options.nprobe, options.seed)
    try:
        methods = choose(known, options.methods)
    except ValueError as error:
        sys.exit(str(error))
    builder = Builder(data, options.nlist, options.keep)
    indexes, sizes = {}, {}
    for method in tqdm(methods, desc="building", unit="index"):
        indexes[method.name], sizes[method.name] = builder.build(method)
    points = measure(methods, indexes, data, options)
    print(ivf_report.save(Path(options.out), data, vars(options), sizes, points))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    vectors.add_options(parser)
    vectors.add_timing_options(parser)
    parser.set_defaults(seconds=0.05, runs=3)
    parser.add_argument("--metric", choices=vectors.METRICS, help="default: what the file says, else l2")
    parser.add_argument(
        "--methods", type=names, default=[], help="names as in the table, with commas between"
    )
    parser.add_argument("--nlist", type=int, default=1024, help="inverted lists")
    parser.add_argument("--bytes", type=int, default=8, help="bytes of a code")
    parser.add_argument("--nprobe", type=ascending, default="1,2,4,8,16,32,64,128", help="lists to visit")
    parser.add_argument("--threads", type=ascending, default="1,2", help="to search with; building takes all")
    parser.add_argument("--batch", type=int, default=0, help="queries per call; 0: all at once")
    parser.add_argument("--keep", type=Path, help="folder for built indexes, read again by the next run")
    parser.add_argument("--out", default="benchmarks/results", help="output folder")
    return parser.parse_args(arguments)


def measure(
    methods: list[Method], indexes: dict[str, faiss.Index], data: Dataset, options: argparse.Namespace
) -> list[Point]:
    """Search with every method and setting: recall on all queries, times of all in turns."""
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    families, prepared, recalls = {}, {}, {}
    for method in tqdm(methods, desc="recall", unit="index"):
        families[method.name] = method.family
        for settings, search in searches(method, indexes[method.name]):
            key = (method.name, *settings.items())
            prepared[key] = search
            recalls[key] = recall(search, method.nested, data)
    return [
        Point(
            family=families[key[0]],
            method=key[0],
            settings=dict(key[1:]),
            threads=threads,
            k=k,
            recall={rank: recalls[key][rank] for rank in RANKS[k]},
            us=timing.us,
            simd=timing.simd,
        )
        for k in RANKS
        for threads in options.threads
        for key, timing in time_searches(prepared, k, threads, data, options).items()
    ]


def recall(search: Search, nested: bool, data: Dataset) -> dict[int, float]:
    """Return recall at every rank; where fewer results are the first of more, one search tells all."""
    size = len(data.query)
    search.prepare()
    found = search.ids(data.query, max(RANKS), size)
    ids = {k: found[:, :k] if nested else search.ids(data.query, k, size) for k in RANKS}
    return {rank: recall_at(ids[k], data.groundtruth, rank) for k, ranks in RANKS.items() for rank in ranks}


def time_searches(
    prepared: dict[Key, Search], k: int, threads: int, data: Dataset, options: argparse.Namespace
) -> dict[Key, Timing]:
    batch = options.batch or len(data.query)
    tasks = {
        key: Task(partial(search.ids, k=k, batch=batch), own=False, threads=threads, prepare=search.prepare)
        for key, search in prepared.items()
    }
    return best_times(tasks, data.query, options.runs, options.seconds, f"k = {k}, threads: {threads}")


if __name__ == "__main__":
    main()
