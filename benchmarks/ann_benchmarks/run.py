"""Runs module.py as config.yml says on an ann-benchmarks HDF5 file, without Docker or ann-benchmarks itself.

As there, queries come one at a time on one thread, and a result counts if it is no farther than the last true
neighbour; unlike there, that thread's CPU time is measured. Prints a table and saves it, as JSON too, with a
plot of queries per second over recall.

    python -m benchmarks.ann_benchmarks.run sift-128-euclidean.hdf5 --groups flat,ivf
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import faiss
import numpy as np
import yaml
from tqdm import tqdm

import drqfaiss
from benchmarks.common import plots
from benchmarks.common.plots import Curve

FOLDER = Path(__file__).parent
PACKAGE = "ann_benchmarks.algorithms.drqfaiss"
EPSILON = 1e-3


@dataclass
class Result:
    """One point of a curve."""

    algorithm: str
    group: str
    name: str
    recall: float
    queries_per_second: float
    build_seconds: float
    code_size: int


@dataclass
class Data:
    """An ann-benchmarks file; ``distances`` are those of the true neighbours, nearest first, (queries, k)."""

    name: str
    metric: str
    base: np.ndarray
    query: np.ndarray
    distances: np.ndarray


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data = read(options.file, options.max_queries)
    results = [result for group in groups(data.metric, options) for result in run(group, data, options)]
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    text = table(data, results, options.k)
    print(text)
    (out / f"{data.name}.md").write_text(text + "\n")
    rows = [asdict(result) for result in results]
    (out / f"{data.name}.json").write_text(json.dumps(rows, indent=1) + "\n")
    plot(data, results, options.k, out / f"{data.name}.svg")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("file", help="HDF5 file with train, test, neighbors, distances")
    parser.add_argument("--config", default=FOLDER / "config.yml", help="what to run")
    parser.add_argument("--groups", help="run groups of it, separated by commas; default: all")
    parser.add_argument("--k", type=int, default=10, help="neighbours per query")
    parser.add_argument("--runs", type=int, default=3, help="timed runs, of which the fastest counts")
    parser.add_argument("--max-queries", type=int, help="only so many queries")
    parser.add_argument("--out", default="ann-out", help="output folder")
    return parser.parse_args(arguments)


def read(path: str, max_queries: int | None) -> Data:
    import h5py

    with h5py.File(path, "r") as file:
        return Data(
            Path(path).stem,
            str(file.attrs["distance"]),
            file["train"][:],
            file["test"][:max_queries],
            file["distances"][:max_queries],
        )


@dataclass
class Group:
    """A run group of config.yml: each build's arguments, and the query arguments for all of them."""

    algorithm: str
    name: str
    constructor: str
    builds: list[list[Any]]
    queries: list[list[Any]]


def groups(metric: str, options: argparse.Namespace) -> list[Group]:
    """Return the run groups for a metric."""
    config = yaml.safe_load(Path(options.config).read_text())["float"]
    if metric not in config:
        raise ValueError(f"{options.file}: distance {metric!r}, expected one of {sorted(config)}")
    found = [
        Group(
            algorithm["name"],
            name,
            algorithm["constructor"],
            [
                [metric if a == "@metric" else a for a in algorithm["base_args"]] + args
                for args in combinations(group["args"])
            ],
            combinations(group["query_args"]),
        )
        for algorithm in config[metric]
        for name, group in algorithm["run_groups"].items()
    ]
    names = {group.name for group in found}
    wanted = set(options.groups.split(",")) if options.groups else names
    if unknown := wanted - names:
        raise ValueError(f"--groups: got {sorted(unknown)}, expected some of {sorted(names)}")
    return [group for group in found if group.name in wanted]


def combinations(arguments: list[Any]) -> list[list[Any]]:
    """Return every choice of one element from each list, as ann-benchmarks reads args and query_args."""
    return [list(c) for c in product(*(a if isinstance(a, list) else [a] for a in arguments))]


def run(group: Group, data: Data, options: argparse.Namespace) -> Iterator[Result]:
    """Build every index of a group and query it with all query arguments."""
    for arguments in group.builds:
        algorithm = getattr(load_module(), group.constructor)(*arguments)
        start = time.perf_counter()
        algorithm.fit(data.base)
        build_seconds = time.perf_counter() - start
        for query_arguments in tqdm(group.queries, desc=str(algorithm), unit="point", leave=False):
            algorithm.set_query_arguments(*query_arguments)
            ids, seconds = answer(algorithm, data.query, options)
            yield Result(
                group.algorithm,
                group.name,
                str(algorithm),
                recall(data, ids),
                len(data.query) / seconds,
                build_seconds,
                algorithm.get_additional()["code_size"],
            )
        algorithm.done()


def load_module() -> ModuleType:
    """Import module.py under the name that it has inside ann-benchmarks, whose base class it imports."""
    base = ModuleType("ann_benchmarks.algorithms.base.module")
    base.BaseANN = BaseANN
    sys.modules.setdefault(base.__name__, base)
    spec = importlib.util.spec_from_file_location(f"{PACKAGE}.module", FOLDER / "module.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BaseANN:
    """As much of ann-benchmarks's base class as module.py inherits."""

    name: str

    def done(self) -> None:
        """Nothing to clean up."""

    def get_batch_results(self) -> np.ndarray:
        """Return what batch_query found."""
        return self.res

    def __str__(self) -> str:
        return self.name


def answer(
    algorithm: BaseANN, query: np.ndarray, options: argparse.Namespace
) -> tuple[list[np.ndarray], float]:
    """Return the ids found for every query, and the CPU seconds of the fastest run.

    One thread's CPU time is what a quiet machine's clock shows, without what other programs took.
    """
    threads = faiss.omp_get_max_threads()
    best = float("inf")
    try:
        for _ in range(options.runs):
            start = time.process_time()
            ids = [algorithm.query(q, options.k) for q in query]
            best = min(best, time.process_time() - start)
    finally:
        faiss.omp_set_num_threads(threads)
    return ids, best


def recall(data: Data, ids: list[np.ndarray]) -> float:
    """Return ann-benchmarks's k@k: the share of results no farther than the last true neighbour."""
    shares = []
    for q, found, true in zip(data.query, ids, data.distances, strict=True):
        distances = distance(data.metric, q, data.base[found[found >= 0]])
        shares.append((distances <= true[len(found) - 1] + EPSILON).sum() / len(found))
    return float(np.mean(shares))


def distance(metric: str, q: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return ann-benchmarks's distances from q to the rows of x."""
    q, x = q.astype(np.float64), x.astype(np.float64)
    if metric == "euclidean":
        return np.linalg.norm(x - q, axis=1)
    return 1 - x @ q / (np.linalg.norm(x, axis=1) * np.linalg.norm(q))


def table(data: Data, results: list[Result], k: int) -> str:
    lines = [
        f"{data.name}: {len(data.base):,} vectors, {len(data.query):,} queries, one thread, "
        f"drqfaiss {drqfaiss.__version__} {drqfaiss.simd_level()}, FAISS {faiss.__version__}",
        "",
        f"| algorithm | recall {k}@{k} | queries/s | build s | code bytes |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {r.name} | {r.recall:.3f} | {r.queries_per_second:,.0f} | {r.build_seconds:.1f} | {r.code_size} |"
        for r in results
    ]
    return "\n".join(lines)


def plot(data: Data, results: list[Result], k: int, path: Path) -> None:
    """Draw one curve for each group: the best queries per second at each recall."""
    curves = []
    for group in dict.fromkeys(result.group for result in results):
        points = sorted((r.recall, r.queries_per_second) for r in results if r.group == group)
        front = [p for i, p in enumerate(points) if all(p[1] > q[1] for q in points[i + 1 :])]
        curves.append(Curve(f"DRQ, {group}", *zip(*front, strict=True)))
    axes = {"xlabel": f"recall {k}@{k}", "ylabel": "queries per second", "yscale": "log"}
    picture = plots.small_multiples(curves, f"{data.name}: speed over recall", "One query at a time", **axes)
    plots.save(picture, path)


if __name__ == "__main__":
    main()
