"""`drqfaiss bench`: compare index types on a data set."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import faiss
import numpy as np

from drqfaiss._faiss.factory import index_factory
from drqfaiss._indexes.arrays import Depth
from drqfaiss._indexes.settings import Setting, drq_indexes, inverted_indexes, refining_indexes
from drqfaiss.cli.info import code_bytes
from drqfaiss.cli.options import SETTINGS, Bench
from drqfaiss.cli.sweep import hidden, require_ranks, sweep, warning_of_spread
from drqfaiss.cli.tables import Rows
from drqfaiss.cli.vectors import METRICS, settings_of, training_of
from drqfaiss.datasets import Dataset, finite_floats, load_dataset
from drqfaiss.evaluation import exact_neighbours


def run(name: str, options: Bench) -> dict[str, Any]:
    """Return rows of figures for every index type and setting."""
    metric = None if options.metric is None else METRICS[options.metric]
    data = cut(load_dataset(name, metric, seed=options.seed), options)
    subjects = possible(data, options)
    truth = data.groundtruth
    if truth is None:
        truth = exact_neighbours(data.base, data.query, max(options.sweep.k), data.metric)
    rows = chain.from_iterable(measure(subject, data, truth, options) for subject in subjects)
    return {
        "data": data.name,
        "learn": len(data.learn),
        "base": len(data.base),
        "queries": len(data.query),
        "d": data.d,
        "threads": faiss.omp_get_max_threads(),
        "rows": Rows(
            warning_of_spread(rows), {"index": max(options.factory, key=len)}, hidden=hidden(options.sweep)
        ),
    }


class Subject(NamedTuple):
    """An index to train, fill and search."""

    factory: str
    index: faiss.Index
    settings: list[Setting]


def possible(data: Dataset, options: Bench) -> list[Subject]:
    """Return what is to be measured, when all of it can be.

    Raises:
        TypeError, ValueError: naming what cannot.
    """
    require_ranks(options.sweep.k, len(data.base))
    training = training_of(options, "")
    drq = [factory for factory in options.factory if "DRQ" in factory]
    if training and not drq:
        raise ValueError(f"{', '.join(training)}: got options of DRQ, expected DRQ in --factory")
    subjects = []
    for factory in options.factory:
        chosen = training_of(options, factory) if factory in drq else {}
        index = index_factory(data.d, factory, data.metric, **chosen)
        for quantizer in drq_indexes(index):
            quantizer.require_enough(len(data.learn))
        subjects.append(Subject(factory, index, settings_for(index, options)))
    for name in SETTINGS:
        used = any(getattr(setting, name) is not None for s in subjects for setting in s.settings)
        if getattr(options.sweep.settings, name) is not None and not used:
            raise ValueError(
                f"{name}: got it for {', '.join(options.factory)}, expected an index that has it"
            )
    return subjects


def settings_for(index: faiss.Index, options: Bench) -> list[Setting]:
    """Return the settings that an index can have, once each, all others left out; checked."""
    usable = [*Depth._fields] if drq_indexes(index) else []
    usable += ["nprobe"] if inverted_indexes(index) else []
    usable += ["k_factor"] if refining_indexes(index) else []
    chosen = [
        {name: getattr(setting, name) for name in usable} for setting in settings_of(options.sweep.settings)
    ]
    settings = [*dict.fromkeys(Setting(**values) for values in chosen)]
    for setting in settings:
        setting.check(index)
    return settings


def cut(data: Dataset, options: Bench) -> Dataset:
    """Return the data as float32 and no larger than asked for."""
    base = finite_floats(data.base, slice(options.max_base))
    query = finite_floats(data.query, slice(options.max_queries))
    learn = finite_floats(data.learn, slice(options.max_learn))
    whole = data.groundtruth is not None and len(base) == len(data.base)
    truth = data.groundtruth[: len(query)] if data.groundtruth is not None and whole else None
    return Dataset(data.name, learn, base, query, truth, data.metric)


def measure(subject: Subject, data: Dataset, truth: np.ndarray, options: Bench) -> Iterator[dict[str, Any]]:
    """Train, fill and search one index."""
    if not options.quiet:
        print(f"{subject.factory}: training and adding", file=sys.stderr, flush=True)
    index = subject.index
    began = time.perf_counter()
    index.train(data.learn)
    trained = time.perf_counter()
    index.add(data.base)
    added = time.perf_counter()
    figures = {
        "index": subject.factory,
        "code_bytes": code_bytes(index),
        "train_s": trained - began,
        "us_per_vector": (added - trained) / len(data.base) * 1e6,
    }
    for row in sweep(index, data.query, truth, subject.settings, options.sweep):
        yield figures | row
