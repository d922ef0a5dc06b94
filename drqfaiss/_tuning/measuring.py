"""Recall and time of one setting after the other, each measured once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss._indexes.arrays import Floats, Ids
from drqfaiss._indexes.settings import Setting, searched_with

FEWEST_TIMED = 100  # Queries that are searched together.
ENOUGH_SECONDS = 0.02  # Shorter searches are repeated, and the fastest counts.


class Measured(NamedTuple):
    """Of a search of many queries with one setting."""

    shares: NDArray[np.float64]  # Of the k true neighbours, how many were found, for each query.
    us: float  # A query.

    @property
    def recall(self) -> float:
        """k@k."""
        return float(self.shares.mean())


class Measuring:
    """Measures settings of an index by the same queries, each setting once.

    Args:
        index: to search in.
        queries: (n, d).
        truth: their exact neighbours, (n, k).
        count: called for every search.
        single: whether times are of searches for one query each, as a server without batches has them.
    """

    def __init__(
        self,
        index: faiss.Index,
        queries: Floats,
        truth: Ids,
        count: Callable[[], object],
        single: bool = False,
    ) -> None:
        self._index, self._queries, self._truth, self._count = index, queries, truth, count
        self._single = single
        self.measured: dict[Setting, Measured] = {}

    def __len__(self) -> int:
        """How many queries there are."""
        return len(self._queries)

    def __call__(self, setting: Setting) -> Measured:
        """Return recall and time; from memory, if it was measured before."""
        if setting not in self.measured:
            self.measured[setting] = self._measure(setting)
            self._count()
        return self.measured[setting]

    def _measure(self, setting: Setting) -> Measured:
        with searched_with(self._index, setting):
            self._found(self._queries[:1])  # Norms of these levels are computed.
            if self._single:
                ids, us = self._found(self._queries), self._timed(self._queries[:FEWEST_TIMED])[1]
            else:
                ids, us = self._timed(self._queries)
        return Measured(shares_found(ids, self._truth), us)

    def _found(self, queries: Floats) -> Ids:
        return self._index.search(queries, self._truth.shape[1])[1]

    def _found_singly(self, queries: Floats) -> Ids:
        return np.concatenate([self._found(queries[i : i + 1]) for i in range(len(queries))])

    def _timed(self, queries: Floats) -> tuple[Ids, float]:
        """Return what a search for the queries finds, and its time in µs per query."""
        clock, least, spent = _clock(), np.inf, 0.0
        search = self._found_singly if self._single else self._found
        while True:
            began = clock()
            ids = search(queries)
            seconds = clock() - began
            least, spent = min(least, seconds), spent + seconds
            if spent >= ENOUGH_SECONDS:
                return ids, least / len(ids) * 1e6

    def compare(self, settings: list[Setting], rounds: int) -> dict[Setting, float]:
        """Return the median µs per query of settings that are timed in turns, by as few queries as it takes.

        All take the same queries: how many are searched together counts.
        """
        fastest = min((self(setting).us for setting in settings), default=1.0)
        queries = self._queries[: max(FEWEST_TIMED, int(ENOUGH_SECONDS / fastest * 1e6))]
        times: dict[Setting, list[float]] = {setting: [] for setting in settings}
        for _ in range(rounds):
            for setting in settings:
                with searched_with(self._index, setting):
                    times[setting].append(self._timed(queries)[1])
                self._count()
        return {setting: float(np.median(values)) for setting, values in times.items()}


def _clock() -> Callable[[], float]:
    """Return the clock that other programs disturb least: of one thread, its own time."""
    return time.process_time if faiss.omp_get_max_threads() == 1 else time.perf_counter


def shares_found(ids: Ids, truth: Ids) -> NDArray[np.float64]:
    """Return, for each query, the share of its true neighbours (n, k) that are among the ids found."""
    found = (truth[:, :, None] == ids[:, None, :]).any(axis=2)
    return found.mean(axis=1)
