"""Compares codes for embeddings of hundreds of dimensions at 8 bytes a vector and more.

One DRQ index, trained once, is searched at every length; all others are trained for each. DATA is a folder
with the sets that `benchmarks.embeddings.sets` knows, or one file of vectors (HDF5 of ann-benchmarks, .npy,
.fvecs, …). Figures are saved after every method and as soon as they are known; `--resume` goes on from there.
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
import numpy as np

from benchmarks.common.arguments import ascending, names
from benchmarks.embeddings import report, sets
from benchmarks.embeddings.built import Costs, Kind, build, held_bytes, keep, read_or_build, searches
from benchmarks.embeddings.methods import SLOW, WIDE, Method, Search, SignBits, choose
from benchmarks.embeddings.report import INT8, Key, Row
from drqfaiss.cli.timing import Task, best_times
from drqfaiss.datasets import Dataset
from drqfaiss.evaluation import intersection_at, recall_at

K, MORE = 10, 100  # neighbours that count, and the longer list that they may be found in
SINGLE_QUERIES, BATCH_QUERIES = 20, 512  # of a timed run; FAISS multiplies matrices from some hundred on
METHODS = "drq,flat,pqfs,rabitq,sq,pca,sign,usearch,pq,opq,rq,prq"
ALL_THREADS = faiss.omp_get_max_threads()


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    try:
        names = options.sets or sets.names(options.data)
        for name in names:
            compare(sets.load(name, options.data, options.cache, options.seed), options)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(str(error))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of known sets, or a file of vectors")
    parser.add_argument("--sets", type=names, help=f"some of {', '.join(sets.SETS)}; default: what there is")
    parser.add_argument("--methods", type=names, default=METHODS, help="also: drq16, lsq")
    parser.add_argument(
        "--bytes", type=ascending, default="8,16,24,32,48,64,80,96,128", help="lengths of codes"
    )
    parser.add_argument(
        "--slow-bytes",
        type=ascending,
        help=f"lengths of what trains for minutes ({', '.join(SLOW)}); default: --bytes",
    )
    parser.add_argument("--levels", type=int, help="of the DRQ index; default: 96, 160 from 1,024 dimensions")
    parser.add_argument("--runs", type=int, default=5, help="timed runs, of which the median counts")
    parser.add_argument("--untimed", action="store_true", help="do not time searches")
    parser.add_argument("--resume", action="store_true", help="keep the rows that --out holds already")
    parser.add_argument("--cache", type=Path, default="build/embeddings", help="for embeddings and indexes")
    parser.add_argument("--out", type=Path, default="benchmarks/results/embeddings", help="output folder")
    parser.add_argument("--seed", type=int, default=0, help="of random draws and of DRQ's training")
    return parser.parse_args(arguments)


def compare(data: Dataset, options: argparse.Namespace) -> None:
    """Measure every method on one set, and time the searches of all in turns."""
    levels = options.levels or (160 if data.d >= WIDE else 96)
    lengths = sorted({*options.bytes, levels})
    methods = choose(
        options.methods,
        data.d,
        data.metric,
        lengths,
        options.slow_bytes or lengths,
        levels,
        options.seed,
        _is_unit(data.base),
    )
    about = report.header(data, options.seed, options.runs)
    out, folder = options.out / f"{data.name}.json", options.cache / data.name
    rows = report.read(out) if options.resume else {}
    int8 = {metric: _copies(data, metric) for metric in {data.metric, faiss.METRIC_L2}}
    timed: dict[Key, Search] = {}
    for method in methods:
        index, costs = ready(method, data, folder, rows)
        for kind, search in searches(method, index, int8):
            key = (method.label, *kind)
            timed[key] = search
            if key not in rows:
                rows[key] = measure(method, index, costs, kind, search, data)
        report.write(out, about, rows)
    if not options.untimed:
        time_searches(rows, timed, data, options.runs)
        report.write(out, about, rows)
    print(report.markdown(about, rows))
    out.with_suffix(".md").write_text(report.markdown(about, rows) + "\n")


def _is_unit(x: np.ndarray) -> bool:
    """Return whether all vectors have length 1, but for what half precision rounds."""
    return bool(np.abs(np.linalg.norm(x, axis=1) - 1).max() < 1e-2)


def _copies(data: Dataset, metric: int) -> faiss.Index:
    """Return the vectors as 8-bit numbers."""
    int8 = faiss.IndexScalarQuantizer(data.d, faiss.ScalarQuantizer.QT_8bit, metric)
    int8.train(data.learn)
    int8.add(data.base)
    return int8


def ready(
    method: Method, data: Dataset, folder: Path, rows: dict[Key, Row]
) -> tuple[faiss.Index | SignBits, Costs]:
    """Return a filled index and its costs: built now, or by the run that rows are of."""
    faiss.omp_set_num_threads(ALL_THREADS)
    of_index = next((row for row in rows.values() if row.label == method.label), None)
    if of_index is not None:
        return read_or_build(method, data, folder), of_index.costs
    say(f"{data.name}: {method.label}")
    index, costs = build(method, data)
    keep(method, index, folder)
    return index, costs


def measure(
    method: Method, index: faiss.Index | SignBits, costs: Costs, kind: Kind, search: Search, data: Dataset
) -> Row:
    """Return a row of what a search finds."""
    ids, more = search(data.query, K), search(data.query, min(MORE, len(data.base)))
    return Row(
        method=method.name,
        label=method.label,
        code_bytes=kind.compared,
        oversampled=kind.oversampled,
        ranked_by=kind.ranked_by,
        norms=kind.norms,
        held_bytes=_held(method, index, kind, data.d),
        costs=costs,
        found={
            "10@10": intersection_at(ids, data.groundtruth, K),
            "10@100": intersection_at(more, data.groundtruth, more.shape[1], of=K),
            "1@10": recall_at(ids, data.groundtruth, K),
        },
        ours=bool(method.lengths),
    )


def _held(method: Method, index: faiss.Index | SignBits, kind: Kind, d: int) -> int:
    copies = d if kind.ranked_by == INT8 and isinstance(index, faiss.Index) else 0
    return held_bytes(method, index, kind) + copies


def time_searches(rows: dict[Key, Row], searches: dict[Key, Search], data: Dataset, runs: int) -> None:
    """Fill in the times of all rows, measured in turns with one thread."""
    say(f"{data.name}: timing {len(searches)} searches")
    for field, queries, run in (
        ("single", SINGLE_QUERIES, one_by_one),
        ("batch", BATCH_QUERIES, together),
    ):
        tasks = {
            str(key): Task(partial(run, search), own=rows[key].times_itself)
            for key, search in searches.items()
        }
        timings = best_times(tasks, data.query[:queries], runs, None, f"{data.name}, {field}")
        for key in searches:
            setattr(rows[key], f"{field}_us", timings[str(key)].us)


def one_by_one(search: Search, queries: np.ndarray) -> None:
    for i in range(len(queries)):
        search(queries[i : i + 1], K)


def together(search: Search, queries: np.ndarray) -> None:
    search(queries, K)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
