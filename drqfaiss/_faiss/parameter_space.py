"""``faiss.ParameterSpace`` for indexes with levels: they are set by name, and explored.

FAISS's own methods know nothing of levels, and its ``explore`` calls them from C++. Methods here do what
FAISS's do, and leave all other indexes to them.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check
from drqfaiss._indexes.arrays import Depth
from drqfaiss._indexes.choices import FACTORS, level_choices
from drqfaiss._indexes.settings import Setting, drq_indexes

Method = Callable[..., Any]
_SEED = 1234  # FAISS's, of the order in which combinations are tried.


def setting_one(stock: Method) -> Method:
    """Return ``set_index_parameter``, which knows levels by name."""

    @functools.wraps(stock)
    def set_index_parameter(self: faiss.ParameterSpace, index: faiss.Index, name: str, value: float) -> None:
        if name in Depth._fields and drq_indexes(index):
            _set(index, {name: value})
        else:
            stock(self, index, name, value)

    return set_index_parameter


def setting_many(stock: Method) -> Method:
    """Return ``set_index_parameters``, which sets levels together with what else a text or number says."""

    @functools.wraps(stock)
    def set_index_parameters(self: faiss.ParameterSpace, index: faiss.Index, setting: str | int) -> None:
        text = setting if isinstance(setting, str) else self.combination_name(setting)
        pairs = [pair for pair in re.split("[ ,]+", text) if pair]
        ours = {name: value for name, value in map(_named, pairs) if name in Depth._fields}
        if not ours or not drq_indexes(index):
            stock(self, index, setting)
            return
        change = _set(index, ours, only_check=True)
        if rest := [pair for pair in pairs if _named(pair)[0] not in ours]:
            stock(self, index, ",".join(rest))
        change.apply(index)

    return set_index_parameters


def _named(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name, value


def _set(index: faiss.Index, values: dict[str, Any], only_check: bool = False) -> Setting:
    """Set levels, or only see to it that they can be set; FAISS's callers expect its exception."""
    try:
        setting = Setting(**{name: _whole(name, value) for name, value in values.items()})
        if only_check:
            setting.check(index)
        else:
            setting.apply(index)
    except (TypeError, ValueError) as error:
        raise RuntimeError(str(error)) from error
    return setting


def _whole(name: str, value: Any) -> int:
    number = _check.number(name, value)
    if not number.is_integer():
        raise ValueError(f"{name}: got {value}, expected an integer")
    return int(number)


def initializing(stock: Method) -> Method:
    """Return ``initialize``, which adds ranges of levels and of the factor of a second stage."""

    @functools.wraps(stock)
    def initialize(self: faiss.ParameterSpace, index: faiss.Index) -> None:
        found = drq_indexes(index)
        if not found:
            stock(self, index)
            return
        index = faiss.downcast_index(index)
        while isinstance(index, faiss.IndexIDMap):  # FAISS does not look into it.
            index = faiss.downcast_index(index.index)
        stock(self, index)
        _add_range(self, "levels", level_choices(min(quantizer.rq.M for quantizer in found)))
        _add_range(self, "refine_factor", [0, *FACTORS[1:]])

    return initialize


def _add_range(space: faiss.ParameterSpace, name: str, values: list[int]) -> None:
    added = space.add_range(name).values  # Of an earlier call, if there was one.
    added.clear()
    for value in values:
        added.push_back(float(value))


def exploring(stock: Method) -> Method:
    """Return ``explore``, which tries combinations of settings as FAISS's does."""

    @functools.wraps(stock)
    def explore(
        self: faiss.ParameterSpace, index: faiss.Index, xq: ArrayLike, crit: faiss.AutoTuneCriterion
    ) -> faiss.OperatingPoints:
        if not drq_indexes(index):
            return stock(self, index, xq, crit)
        xq = _check.vectors("xq", xq, index.d)
        if len(xq) != crit.nq:
            raise ValueError(f"xq: got {len(xq)} queries, expected the {crit.nq} of crit")
        points = faiss.OperatingPoints()
        tried: list[tuple[int, float, float]] = []
        for combination in _order(self):
            if _is_beaten(self, combination, tried, points):
                continue
            self.set_index_parameters(index, combination)
            performance, seconds = _measure(self, index, xq, crit)
            tried.append((combination, performance, seconds))
            points.add(performance, seconds, self.combination_name(combination), combination)
        return points

    return explore


def _order(space: faiss.ParameterSpace) -> list[int]:
    """Return the combinations to try: all, or at most n_experiments, the fastest and the slowest first."""
    count = space.n_combinations()
    if not space.n_experiments or count < 3:
        return [*range(count)]
    between = 1 + np.random.default_rng(_SEED).permutation(count - 2)
    return [0, count - 1, *between.tolist()][: max(space.n_experiments, 2)]


def _is_beaten(
    space: faiss.ParameterSpace,
    combination: int,
    tried: list[tuple[int, float, float]],
    points: faiss.OperatingPoints,
) -> bool:
    """Return whether a combination can be no better than one that was tried: more of all takes longer."""
    if not space.n_experiments:
        return False
    above = [performance for c, performance, _ in tried if space.combination_ge(c, combination)]
    below = [seconds for c, _, seconds in tried if space.combination_ge(combination, c)]
    return points.t_for_perf(min(above, default=1.0)) <= max(below, default=0.0)


def _measure(
    space: faiss.ParameterSpace, index: faiss.Index, xq: np.ndarray, crit: faiss.AutoTuneCriterion
) -> tuple[float, float]:
    """Return the criterion's value and the seconds of a search for all queries."""
    runs, began = 0, time.perf_counter()
    while True:
        D, ids = index.search(xq, crit.nnn)
        runs += 1
        seconds = time.perf_counter() - began
        if not space.n_experiments or seconds >= space.min_test_duration:
            # FAISS wraps the method for arrays in the base class only.
            arrays = faiss.swig_ptr(D), faiss.swig_ptr(ids)
            return faiss.AutoTuneCriterion.evaluate_c(crit, *arrays), seconds / runs


HOOKS: dict[str, Callable[[Method], Method]] = {
    "set_index_parameter": setting_one,
    "set_index_parameters": setting_many,
    "initialize": initializing,
    "explore": exploring,
}
