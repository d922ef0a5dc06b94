"""What an index finds in a sample, and what it would find among more vectors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import faiss
import numpy as np

from drqfaiss._faiss.factory import index_factory
from drqfaiss._indexes.arrays import Floats, Ids
from drqfaiss._indexes.settings import searched_with, thorough
from drqfaiss._planning.shape import K_FACTOR, Shape
from drqfaiss.evaluation import exact_neighbours, intersection_at

PARTS = (1 / 8, 1 / 4, 1 / 2, 1)  # of the base vectors: how recall falls with their number
FEWEST_IN_PART = 500


class Sample:
    """Vectors apart from each other, and the neighbours to find.

    Args:
        learn: to train on, (n, d).
        base: to search in, in an order without meaning.
        queries: to search for.
        metric: FAISS's number.
        k: neighbours.

    Attributes:
        parts: so many of the first base vectors are searched, one number after the other.
    """

    def __init__(self, learn: Floats, base: Floats, queries: Floats, metric: int, k: int) -> None:
        self.learn, self.base, self.queries, self.metric, self.k = learn, base, queries, metric, k
        sizes = [round(share * len(base)) for share in PARTS]
        self.parts = [size for size in sizes if size >= max(FEWEST_IN_PART, 2 * k)] or [len(base)]
        self._truth = [exact_neighbours(base[:size], queries, k, metric) for size in self.parts]

    def recall(self, part: int, ids: Ids) -> float:
        """Return k@k of what was found in a part, given by its number."""
        return float(intersection_at(ids, self._truth[part], self.k))


class Trial(NamedTuple):
    """What an index of the sample took and found.

    Attributes:
        index: trained, filled with all base vectors.
        recalls: by levels that were compared, k@k in one part after the other.
        train_s: seconds of training, by the clock.
        add_us: µs of adding a vector, by the clock.
    """

    index: faiss.Index
    recalls: dict[int, list[float]]
    train_s: float
    add_us: float


def try_out(shape: Shape, sample: Sample, lengths: Sequence[int] = ()) -> Trial:
    """Train an index on a sample, fill it, and search thoroughly in every part.

    Args:
        shape: of the index.
        sample: see there.
        lengths: numbers of levels to compare; none: all of them.
    """
    d = sample.learn.shape[1]
    index = index_factory(d, shape.description, sample.metric, **shape.training, progress=False)
    began = time.perf_counter()
    index.train(sample.learn)
    train_s, add_s = time.perf_counter() - began, 0.0
    recalls: dict[int, list[float]] = {levels: [] for levels in lengths or (shape.levels,)}
    for part, size in enumerate(sample.parts):
        began = time.perf_counter()
        index.add(sample.base[index.ntotal : size])
        add_s += time.perf_counter() - began
        for levels, found in recalls.items():
            found.append(sample.recall(part, _nearest(shape, index, sample, levels)))
    return Trial(index, recalls, train_s, add_s / index.ntotal * 1e6)


def _nearest(shape: Shape, index: faiss.Index, sample: Sample, levels: int) -> Ids:
    setting = thorough(index)._replace(levels=levels, k_factor=K_FACTOR if shape.copies else None)
    with searched_with(index, setting):
        return index.search(sample.queries, sample.k)[1]


def extended(sizes: Sequence[int], recalls: Sequence[float], n: int) -> float:
    """Return the recall among n vectors from recalls among fewer.

    Its log-odds nearly follow a line over the logarithm of n. The line through those measured is moved to the
    last, which is measured best.
    """
    if n <= sizes[-1] or len(sizes) < 2:
        return recalls[-1]
    odds = [_log_odds(recall) for recall in recalls]
    slope = float(np.polyfit(np.log(sizes), odds, 1)[0])
    at_n = odds[-1] + slope * float(np.log(n / sizes[-1]))
    return float(1 / (1 + np.exp(-at_n)))


def _log_odds(recall: float) -> float:
    share = float(np.clip(recall, 1e-4, 1 - 1e-4))
    return float(np.log(share / (1 - share)))
