"""Compare index types on your data: training and encoding time, recall and search time.

DATA is an ann-benchmarks HDF5 file, a folder or prefix of sift_base.fvecs, sift_query.fvecs, …, or one file
that is split. Levels and nprobe apply to the indexes that have them. FAISS's searches are timed at each SIMD
level of its wheel and quoted at the best; training and adding run once, at its default.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import faiss
import numpy as np

from drqfaiss._faiss.factory import index_factory
from drqfaiss._indexes.settings import drq_indexes
from drqfaiss.cli import options as shared
from drqfaiss.cli.info import code_bytes
from drqfaiss.cli.sweep import add_sweep, sweep
from drqfaiss.datasets import Dataset, finite_floats, load_dataset
from drqfaiss.evaluation import exact_neighbours

FACTORIES = ["DRQ8x8", "PQ8x8", "RQ8x8", "PQ16x4fs"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``run`` reads."""
    parser.add_argument("data", help="file, folder or prefix, see above")
    parser.add_argument(
        "--factory",
        nargs="+",
        default=FACTORIES,
        metavar="TYPE",
        help=f"index types (default: {' '.join(FACTORIES)})",
    )
    parser.add_argument(
        "--metric", choices=shared.METRICS, help="l2 or inner product (default: what the file says, else l2)"
    )
    parser.add_argument("--max-base", type=shared.positive, metavar="N", help="use only so many base vectors")
    parser.add_argument(
        "--max-learn", type=shared.positive, metavar="N", help="train on only so many vectors"
    )
    parser.add_argument(
        "--max-queries", type=shared.positive, metavar="N", help="search only so many queries"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of random draws and of DRQ's training"
    )
    add_sweep(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return rows of figures for every index type and setting."""
    indexes = {}
    metric = shared.METRICS.get(options.metric)
    data = cut(load_dataset(options.data, metric, seed=options.seed), options)
    for factory in options.factory:  # All of them are possible, or nothing is measured.
        training = {"seed": options.seed, "progress": not options.quiet} if "DRQ" in factory else {}
        indexes[factory] = index_factory(data.d, factory, data.metric, **training)
    truth = data.groundtruth
    if truth is None:
        truth = exact_neighbours(data.base, data.query, min(max(options.ranks), len(data.base)), data.metric)
    rows = []
    for factory, index in indexes.items():
        if not options.quiet:
            print(f"{factory}: training and adding", file=sys.stderr, flush=True)
        rows += measure(factory, index, data, truth, options)
    return {
        "data": data.name,
        "learn": len(data.learn),
        "base": len(data.base),
        "queries": len(data.query),
        "d": data.d,
        "threads": faiss.omp_get_max_threads(),
        "rows": rows,
    }


def cut(data: Dataset, options: argparse.Namespace) -> Dataset:
    """Return the data as float32 and no larger than asked for."""
    base = finite_floats(data.base, slice(options.max_base))
    query = finite_floats(data.query, slice(options.max_queries))
    learn = finite_floats(data.learn, slice(options.max_learn))
    whole = data.groundtruth is not None and len(base) == len(data.base)
    truth = data.groundtruth[: len(query)] if data.groundtruth is not None and whole else None
    return Dataset(data.name, learn, base, query, truth, data.metric)


def measure(
    factory: str, index: faiss.Index, data: Dataset, truth: np.ndarray, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Train, fill and search one index."""
    began = time.perf_counter()
    index.train(data.learn)
    trained = time.perf_counter()
    index.add(data.base)
    added = time.perf_counter()
    figures = {
        "index": factory,
        "code bytes": code_bytes(index),
        "train s": trained - began,
        "add µs/vector": (added - trained) / len(data.base) * 1e6,
    }
    chosen = argparse.Namespace(**vars(options))
    if not drq_indexes(index):
        chosen.levels = [None]
    if faiss.try_extract_index_ivf(index) is None:
        chosen.nprobe = [None]
    return [figures | row for row in sweep(index, data.query, truth, chosen)]
