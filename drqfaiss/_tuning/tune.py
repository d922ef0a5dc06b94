"""``tune``: from a recall to the fastest setting that reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import faiss
import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check
from drqfaiss._indexes.arrays import Floats, Ids
from drqfaiss._indexes.engines import engine_of
from drqfaiss._indexes.setting_file import shape_of
from drqfaiss._indexes.settings import drq_indexes, refining_indexes, searched_with, thorough
from drqfaiss._neighbours import base_neighbours, given_neighbours, require_found
from drqfaiss._progress import bar
from drqfaiss._threads import on_threads
from drqfaiss._tuning.interval import queries_needed
from drqfaiss._tuning.measuring import Measuring
from drqfaiss._tuning.search import Search
from drqfaiss._tuning.space import Space
from drqfaiss._tuning.tuned import Tuned

CHOOSING = 1 / 3  # Of the queries; the others tell the recall.
CHECKED_QUERIES = 200
ESTIMATE = "an estimate: what the most thorough search of this index finds"


def tune(
    index: faiss.Index,
    queries: ArrayLike,
    *,
    k: int = 10,
    recall: float = 0.95,
    base: ArrayLike | None = None,
    neighbours: ArrayLike | None = None,
    max_us: float | None = None,
    threads: int = 1,
    single: bool = False,
    progress: bool = True,
) -> Tuned:
    """Find the fastest setting of searches for k that finds a share of the k true neighbours.

    Levels, both sides of a second stage, nprobe of inverted lists and k_factor of an ``IndexRefine`` are
    chosen, by measurements of few of their combinations: what is more thorough finds no less and takes no
    less time. A third of the queries choose. The others tell the recall, and a setting is taken when the
    lower bound of their 95 % interval reaches the recall asked for. The index stays as it is: see
    `Tuned.apply`.

    Args:
        index: with levels, also inside others; trained and filled.
        queries: like those to come, (n, d): hundreds at least.
        k: neighbours of a search.
        recall: share of the k true neighbours, between 0 and 1.
        base: the vectors in the index, in its order, among which the true neighbours are found; or
        neighbours: ids of the true neighbours, nearest first, (n, at least k). Without either, recall counts
            the neighbours that the most thorough search finds: what faster settings lose beside it.
        max_us: the most µs a query may take. If the recall takes longer, the best within it is found.
        threads: of the searches.
        single: whether times are of searches for one query each, instead of all at once.
        progress: whether to show a line on stderr, if that is a terminal.

    Returns:
        Tuned. With ``reached`` False it is the best there is.

    Raises:
        TypeError, ValueError: an argument is not as above; too few queries to show the recall; neighbours of
            other vectors.
        RuntimeError: the index is not trained, or empty.
    """
    k = _check.integer("k", k, 1)
    recall, threads = _check.share("recall", recall), _check.integer("threads", threads, 1)
    single = _check.boolean("single", single)
    limit = None if max_us is None else _time(max_us)
    _require_filled(index, k)
    queries = _queries(queries, index, recall)
    if base is not None and neighbours is not None:
        raise TypeError("neighbours: got them and base, expected one of them")
    with (
        on_threads(threads),
        _caches_dropped(index),
        bar("tuning", "searches", None, shown=progress) as shown,
    ):
        truth, against = _truth(index, queries, k, base, neighbours)
        search = Search(Space(index, k), *_split(index, queries, truth, shown.update, single), k)
        search.fastest(recall)
        search.complete_front()  # Times that are compared may show another to be faster.
        setting, reached = search.fastest(recall)
        if limit is not None and search.us(setting) > limit:
            setting, reached = search.best_within(limit), False
        told, (low, high) = search.told(setting)
        return Tuned(
            setting=setting,
            recall=told,
            low=low,
            high=high,
            us_per_query=search.us(setting),
            reached=reached,
            k=k,
            asked=recall,
            max_us=limit,
            threads=threads,
            single=single,
            against=against,
            queries=len(queries) - int(len(queries) * CHOOSING),
            front=search.front(setting),
            shape=shape_of(index),
        )


@contextmanager
def _caches_dropped(index: faiss.Index) -> Iterator[None]:
    """Let an index forget, at the end, the norms of all the code lengths that were tried."""
    try:
        yield
    finally:
        for quantizer in drq_indexes(index):
            engine_of(quantizer).adopt(quantizer)


def _time(value: float) -> float:
    us = _check.number("max_us", value)
    if not us > 0:
        raise ValueError(f"max_us: got {us:g}, expected more than 0")
    return us


def _require_filled(index: faiss.Index, k: int) -> None:
    _check.instance("index", index, faiss.Index)
    if not drq_indexes(index):
        raise ValueError(
            f"index: got {type(index).__name__}, expected an index with levels, of drqfaiss or adopted"
        )
    if not index.is_trained:
        raise RuntimeError("the index is not trained, expected train(x) and add(x) first")
    if not index.ntotal:
        raise RuntimeError("the index is empty, expected add(x) first")
    _check.integer("k", k, 1, index.ntotal)


def _queries(queries: ArrayLike, index: faiss.Index, recall: float) -> Floats:
    """Return the queries in an order of their own, so that any part of them is like the others."""
    x = _check.vectors("queries", queries, index.d)
    _check.finite("queries", x)
    needed = int(np.ceil(queries_needed(recall) / (1 - CHOOSING)))
    if len(x) < needed:
        raise ValueError(
            f"queries: got {len(x)}, expected at least {needed}: fewer cannot show a recall of {recall:g}"
        )
    return x


def _truth(
    index: faiss.Index, queries: Floats, k: int, base: ArrayLike | None, neighbours: ArrayLike | None
) -> tuple[Ids, str]:
    """Return the neighbours that recall counts, (queries, k), and what they are."""
    if neighbours is not None:
        name, against = "neighbours", "the neighbours given"
        truth = given_neighbours(name, neighbours, index, len(queries))
        if truth.shape[1] < k:
            raise ValueError(f"k: got {k}, expected at most {truth.shape[1]}, the neighbours of each query")
        truth = truth[:, :k]
        if truth.min() < 0:
            raise ValueError(f"neighbours: got fewer than {k} of a query, expected as many as k")
    elif base is not None:
        name, against = "base", "the base vectors"
        truth = base_neighbours(name, _check.vectors(name, base, index.d), index, queries, k)
    else:
        return _most_thorough(index, queries, k), ESTIMATE
    found = _most_thorough(index, queries[:CHECKED_QUERIES], k)
    require_found(name, found, truth[:CHECKED_QUERIES], index)
    return truth, against


def _most_thorough(index: faiss.Index, queries: Floats, k: int) -> Ids:
    for refining in refining_indexes(index):
        if refining is index:  # What it ranks by is exact, or at least better than the codes.
            return faiss.downcast_index(refining.refine_index).search(queries, k)[1]
    with searched_with(index, thorough(index)):
        return index.search(queries, k)[1]


def _split(
    index: faiss.Index, queries: Floats, truth: Ids, count: Callable[[], object], single: bool
) -> tuple[Measuring, Measuring]:
    """Return what measures by the queries that choose, and by those that tell the recall."""
    order = np.random.default_rng(0).permutation(len(queries))
    choose, tell = np.split(order, [int(len(queries) * CHOOSING)])
    return (
        Measuring(index, queries[choose], truth[choose], count, single),
        Measuring(index, queries[tell], truth[tell], count, single),
    )
