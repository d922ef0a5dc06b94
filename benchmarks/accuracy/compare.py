"""Compares quantizers at equal bytes: training, encoding, memory, recall, error and search time.

Without ``--data`` it uses the descriptors of ``benchmarks.common.photographs``. Progress goes to stderr, the
table to stdout; the table, all figures as JSON and the plots are saved in the output folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# Spinning OpenMP threads distort every figure on a shared machine; libgomp reads this once, on loading.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy as np

import drqfaiss
from benchmarks.accuracy import report
from benchmarks.accuracy.report import Row
from benchmarks.common import vectors
from benchmarks.common.arguments import ascending, names
from benchmarks.common.methods import VARIANTS, Method, choose, code_bytes, memory_bytes
from drqfaiss.cli.timing import Task, Timing, best_times
from drqfaiss.datasets import Dataset
from drqfaiss.evaluation import exact_neighbours, recall_at

RANKS = (1, 10, 100)
ERROR_VECTORS = 20_000
ENCODED_VECTORS = 2_000  # at once when encoding is timed: LSQ prepares 0.2 s for every call
ALL_THREADS = faiss.omp_get_max_threads()
Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data = prepare(options)
    about = report.header(data, vars(options))
    out = Path(options.out)
    rows = report.read(out) if options.resume else []
    searches = {}
    for seed in range(options.seed, options.seed + options.seeds):
        for method in choose(options.methods, options.drq, options.drq_levels or options.bytes[-1:], seed):
            for length in lengths_to_train(method, data.d, options.bytes, seed, rows):
                trained = Trained(method, length, seed, data, options)
                for row, search in trained.rows(options.bytes):
                    rows.append(row)
                    if seed == options.seed:  # another seed searches as fast
                        searches[row.label] = search
                report.write_figures(out, about, rows)
    if not options.untimed:
        time_searches(rows, searches, data, options)
    print(report.save(out, about, rows))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    vectors.add_options(parser)
    vectors.add_timing_options(parser)
    parser.add_argument("--metric", choices=vectors.METRICS, help="default: what the file says, else l2")
    parser.add_argument(
        "--methods",
        type=names,
        default="drq,pq,opq,rq,pqfs",
        help="also: rq16 (beam 16), rq9, rq10 (levels of 9 and 10 bits), lsq, itq, rabitq",
    )
    parser.add_argument("--bytes", type=ascending, default="2,4,6,8", help="code lengths")
    parser.add_argument(
        "--drq", type=names, default="level", help=f"variants of DRQ, with commas between: {VARIANTS}"
    )
    parser.add_argument(
        "--drq-levels",
        type=ascending,
        help="models of DRQ, whose prefixes the shorter codes are, by their bytes; default: one",
    )
    parser.add_argument("--seeds", type=int, default=1, help="train everything so often; 1@k with its spread")
    parser.add_argument("--k", type=int, default=10, help="neighbours asked for when timing a search")
    parser.add_argument("--threads", type=int, default=1, help="to encode and search; training takes all")
    parser.add_argument("--untimed", action="store_true", help="do not time searches")
    parser.add_argument("--resume", action="store_true", help="keep the rows that --out holds already")
    parser.add_argument("--out", default="demo-out", help="output folder")
    options = parser.parse_args(arguments)
    try:
        choose(options.methods, options.drq, options.bytes, options.seed)
    except ValueError as error:
        parser.error(str(error))
    return options


def prepare(options: argparse.Namespace) -> Dataset:
    """Load the data and see that it has exact neighbours."""
    data = vectors.load(options, vectors.METRICS.get(options.metric))
    if data.groundtruth is None:
        say(f"exact neighbours of {len(data.query):,} queries in {len(data.base):,} vectors")
        data.groundtruth = exact_neighbours(data.base, data.query, k=1, metric=data.metric)
    return data


def lengths_to_train(method: Method, d: int, lengths: list[int], seed: int, rows: list[Row]) -> list[int]:
    """Return the code lengths a method has to be trained for that have no row yet."""
    done = {(row.method, row.levels, row.code_bytes) for row in rows if row.seed == seed}
    lengths = [m for m in lengths if method.fits(d, m) and (method.name, method.levels, m) not in done]
    return lengths[-1:] if method.own else lengths


@dataclass
class Trained:
    """A method, trained and filled for one code length (ours: also for all shorter ones)."""

    method: Method
    length: int
    seed: int
    data: Dataset
    options: argparse.Namespace

    def __post_init__(self) -> None:
        """Train on the learn set in an order of the seed's, time the encoding, fill."""
        name, learn = self.method.name, self.data.learn
        say(f"{name}: training for {self.method.levels or self.length} bytes, {len(learn):,} vectors")
        self.index = self.method.make(self.data.d, self.length, self.data.metric)
        # FAISS's starting points are the first rows of fixed permutations: another order is another seed.
        learn = np.random.default_rng(self.seed).permutation(learn)
        faiss.omp_set_num_threads(ALL_THREADS)
        start = time.process_time()
        self.index.train(learn)
        self.train_s = time.process_time() - start
        self.encoding = self._time_encoding()
        faiss.omp_set_num_threads(ALL_THREADS)
        self.index.add(self.data.base)

    def rows(self, lengths: list[int]) -> list[tuple[Row, Search]]:
        """Return a row of figures, without search times, and the search function of every code length."""
        own = self.method.own
        used = [m for m in lengths if self.method.fits(self.data.d, m)] if own else [self.length]
        return [(self._row(m, search), search) for m in used for search in [self._search_function(m)]]

    def _row(self, length: int, search: Search) -> Row:
        ids = search(self.data.query, min(max(RANKS), len(self.data.base)))[1]
        own = self.method.own
        levels = self.method.levels_in(length) if own else None
        return Row(
            method=self.method.name,
            levels=self.method.levels,
            seed=self.seed,
            code_bytes=length if own else code_bytes(self.index),
            memory_bytes=memory_bytes(self.method, self.index),
            parameters=self.method.parameters(self.data.d, length),
            train_s=self.train_s,
            encode_us=self.encoding.us,
            encode_simd=self.encoding.simd,
            error=relative_error(self.index, self.data.base[:ERROR_VECTORS], levels),
            recall={k: recall_at(ids, self.data.groundtruth, min(k, ids.shape[1])) for k in RANKS},
        )

    def _search_function(self, length: int) -> Search:
        if not self.method.own:
            return self.index.search
        parameters = drqfaiss.SearchParametersDRQ(levels=self.method.levels_in(length))
        return partial(self.index.search, params=parameters)

    def _time_encoding(self) -> Timing:
        def encode(rows: np.ndarray) -> None:
            self.index.add(rows)
            self.index.reset()

        tasks = {self.method.name: Task(encode, self.method.own, self.options.threads)}
        timings = best_times(tasks, self.data.base[:ENCODED_VECTORS], self.options.runs, None, "encode")
        return timings[self.method.name]


def relative_error(index: faiss.Index, x: np.ndarray, levels: int | None) -> float | None:
    """Return Σ‖x − x̂‖² / Σ‖x − mean‖², x̂ from the first ``levels`` levels or, if None, from all the code.

    None for codes that stand for no vectors.
    """
    if "LSH" in type(faiss.downcast_index(getattr(index, "index", index))).__name__:
        return None
    decoded = _decoded(index, x, levels)
    return float(np.square(x - decoded).sum(dtype=float) / np.square(x - x.mean(0)).sum(dtype=float))


def _decoded(index: faiss.Index, x: np.ndarray, levels: int | None) -> np.ndarray:
    codes = index.sa_encode(x)
    if levels is None:
        return index.sa_decode(codes)
    codebooks = faiss.vector_to_array(index.rq.codebooks).reshape(index.rq.M, -1, index.d)
    numbers = faiss.unpack_bitstrings(codes, index.rq.M, index.rq.nbits.at(0))
    return sum(codebooks[m, numbers[:, m]] for m in range(levels))


def time_searches(
    rows: list[Row], searches: dict[str, Search], data: Dataset, options: argparse.Namespace
) -> None:
    """Fill in the search times of all rows of this run, timed in turns."""
    timed = {row.label: row for row in rows if row.label in searches}
    tasks = {
        label: Task(partial(_run, searches[label], options.k), row.levels > 0, options.threads)
        for label, row in timed.items()
    }
    timings = best_times(tasks, data.query, options.runs, options.seconds, "search")
    for label, row in timed.items():
        row.search_us, row.search_simd = timings[label].us, timings[label].simd


def _run(search: Search, k: int, queries: np.ndarray) -> None:
    search(queries, k)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
