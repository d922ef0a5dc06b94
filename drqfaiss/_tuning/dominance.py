"""Searches an ordered set of settings for the cheapest that is good enough, by few measurements.

Settings are points whose coordinates grow with how thorough they are. What is more thorough is as good and
as expensive at least. So of a point that is good enough all above it need no look, they cost more; of one
that is not, all below it; and of one that costs more than the best so far, all above it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

GUESSED = 2  # A guess at a cost may be wrong by so many times.
MOST_WEIGHED = 256  # Points of which it is counted how many others their measurement would settle.


class Found(NamedTuple):
    """What a measurement said."""

    good: bool
    cost: float


def cheapest(
    points: NDArray[np.int64],
    measure: Callable[[int], Found],
    known: Mapping[int, Found] | None = None,
    slack: float = 1.0,
    effort: NDArray[np.float64] | None = None,
    most: int | None = None,
) -> list[tuple[int, float]]:
    """Return the points that are good enough and may be the cheapest, with their costs, cheapest first.

    Args:
        points: coordinates (n, axes).
        measure: says of a point, by its row, whether it is good enough and what it costs.
        known: what was measured before, by row.
        effort: a guess at the costs, (n), in any unit. Where even the most favourable measurement so far
            says that a point costs twice as much as the best, it is left out.
        most: measurements to make; None: as many as it takes.
        slack: costs that are up to so many times the least count as equal: they were measured with noise.
    """
    measured = dict(known or {})
    open_rows = np.arange(len(points))
    allowed = len(measured) + (len(points) if most is None else most)
    while True:
        best = min((found.cost for found in measured.values() if found.good), default=np.inf) * slack
        open_rows = _unsettled(points, open_rows, measured, best)
        if effort is not None and measured:
            least = min(found.cost / effort[row] for row, found in measured.items())
            open_rows = open_rows[effort[open_rows] * least <= best * GUESSED]
        if not len(open_rows) or len(measured) >= allowed:
            break
        row = _most_telling(points, open_rows, np.ones(len(points)) if effort is None else effort)
        measured[row] = measure(row)
    good = [(row, found.cost) for row, found in measured.items() if found.good and found.cost <= best]
    return sorted(good, key=lambda pair: pair[1])


def _unsettled(
    points: NDArray[np.int64], rows: NDArray[np.int64], measured: Mapping[int, Found], most: float
) -> NDArray[np.int64]:
    """Return the rows that may still be good and cost at most so much."""
    left, settled = points[rows], np.isin(rows, [*measured])
    for row, found in measured.items():
        if found.good or found.cost > most:
            settled |= _above(left, points[row])
        if not found.good:
            settled |= _below(left, points[row])
    return rows[~settled]


def _above(points: NDArray[np.int64], point: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.all(points >= point, axis=1)


def _below(points: NDArray[np.int64], point: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.all(points <= point, axis=1)


def _most_telling(points: NDArray[np.int64], rows: NDArray[np.int64], effort: NDArray[np.float64]) -> int:
    """Return the row whose measurement settles most others, whatever it says, for its effort."""
    left = points[rows]
    weighed = np.unique(np.linspace(0, len(rows) - 1, MOST_WEIGHED).astype(int))
    settles = [min(_above(left, left[i]).sum(), _below(left, left[i]).sum()) for i in weighed]
    return int(rows[weighed[int(np.argmax(settles / effort[rows[weighed]]))]])
