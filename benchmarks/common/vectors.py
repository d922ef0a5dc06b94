"""The vectors a benchmark runs on, and the options that choose them."""

from __future__ import annotations

import argparse

import numpy as np

from drqfaiss.datasets import METRIC_NAMES, Dataset, load_dataset

METRICS = {name: metric for metric, name in METRIC_NAMES.items()}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options ``load`` reads."""
    parser.add_argument("--data", help="HDF5, directory, prefix or one file: see drqfaiss.datasets")
    parser.add_argument("--max-base", type=int, help="use only so many base vectors")
    parser.add_argument("--split-learn", type=int, help="take so many random rows out of base, to train on")
    parser.add_argument(
        "--hold-out",
        type=int,
        help="use learn vectors only: so many, the last, as queries, half of the others as base",
    )
    parser.add_argument("--max-learn", type=int, help="train on only so many vectors")
    parser.add_argument("--max-queries", type=int, help="search only so many queries")
    parser.add_argument("--seed", type=int, default=0, help="of random draws and of DRQ's training")


def add_timing_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``timing.best_times`` needs."""
    parser.add_argument("--runs", type=int, default=5, help="timed runs, of which the median counts")
    parser.add_argument("--seconds", type=float, default=0.2, help="length of a timed run")


def load(options: argparse.Namespace, metric: int | None = None) -> Dataset:
    """Load ``--data`` or the built-in photographs as float32, cut to size.

    ``metric`` None is what the file says, else L2. The exact neighbours are dropped where they cannot hold.
    """
    if options.data is None:
        from benchmarks.common import photographs

        data = photographs.load(options.seed)
        data.metric = data.metric if metric is None else metric
    else:
        data = load_dataset(options.data, metric, seed=options.seed)
    if options.split_learn is not None:
        data = split_learn(data, options.split_learn, options.seed)
    if options.hold_out is not None:
        data = hold_out(data, options.hold_out)
    base, query = _floats(data.base, options.max_base), _floats(data.query, options.max_queries)
    whole = data.groundtruth is not None and len(base) == len(data.base)
    groundtruth = data.groundtruth[: len(query)] if whole else None
    return Dataset(data.name, _floats(data.learn, options.max_learn), base, query, groundtruth, data.metric)


def split_learn(data: Dataset, count: int, seed: int) -> Dataset:
    """Move random rows of base to learn, for data without training vectors of their own."""
    rows = np.random.default_rng(seed).permutation(len(data.base))
    learn, base = (data.base[np.sort(part)] for part in np.split(rows, [count]))
    return Dataset(data.name, learn, base, data.query, None, data.metric)


def hold_out(data: Dataset, count: int) -> Dataset:
    """Compare on learn vectors alone, as settings have to be chosen: queries and base never touched.

    Cut in the order of the file, in which neighbours often come from the same photograph.
    """
    half = (len(data.learn) - count) // 2
    learn, base, query = np.split(data.learn, [half, len(data.learn) - count])
    return Dataset(data.name, learn, base, query, None, data.metric)


def _floats(vectors: np.ndarray, limit: int | None) -> np.ndarray:
    return np.ascontiguousarray(vectors[:limit], dtype=np.float32)
