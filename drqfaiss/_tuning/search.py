"""Searches the settings of an index: the fastest for a recall, the best for a time, and what lies between."""

from __future__ import annotations

from collections.abc import Callable

from drqfaiss._indexes.settings import Setting
from drqfaiss._tuning.dominance import Found, cheapest
from drqfaiss._tuning.interval import interval, lower_bound, trials
from drqfaiss._tuning.measuring import Measured, Measuring
from drqfaiss._tuning.space import Space
from drqfaiss._tuning.tuned import TunedPoint

SLACK = 1.15  # Times of one run are wrong by so much.
ROUNDS = 5
FRONT_ROUNDS = 2
MOST_COMPARED = 6
MOST_STEPS = 20
LADDER = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)  # Recalls for which the front has a point.


class Search:
    """Settings, measured by queries that choose, and told of by others.

    Args:
        space: the settings.
        choose: measures them by the queries that choose.
        tell: measures them by the others.
        k: neighbours of a search.
    """

    def __init__(self, space: Space, choose: Measuring, tell: Measuring, k: int) -> None:
        self._space, self._choose, self._tell, self._k = space, choose, tell, k
        self._rows = {setting: row for row, setting in enumerate(space.settings)}
        self._compared: dict[Setting, float] = {}

    def fastest(self, recall: float) -> tuple[Setting, bool]:
        """Return the fastest setting whose recall holds, or the one with the best recall and False.

        Of settings that were measured before, nothing is measured again.

        What the choosing queries must show rises until the others show the recall as well.
        """
        # Two stages find no more than one of all levels, which is the fastest of what finds as much.
        best = self._choose(self._space.settings[self._space.most_thorough])
        required = recall
        for _ in range(MOST_STEPS if self._expected(best) >= recall else 0):
            found = self._cheapest(self._expecting(required))
            if not found:
                break
            setting = self._fastest_of(found[:MOST_COMPARED])
            low, _ = self.told(setting)[1]
            if low >= recall:
                return setting, True
            required = max(required, self._expected(self._choose(setting))) + max((recall - low) / 2, 1e-6)
        found = self._cheapest(_reaching(best.recall))
        return self._fastest_of(found[:MOST_COMPARED]), False

    def best_within(self, us: float) -> Setting:
        """Return the setting with the best recall of those that take at most so many µs a query."""

        def within(row: int) -> Found:
            setting = self._space.settings[row]
            recall = self._choose(setting).recall
            return Found(self.us(setting) <= us, -recall)

        known = {row: within(row) for row in self._measured()}
        points = -self._space.points  # What is less thorough is fast enough, too, and costs recall.
        found = cheapest(points, within, known)
        return self._space.settings[found[0][0]] if found else min(self._choose.measured, key=self.us)

    def complete_front(self) -> None:
        """Measure the fastest settings for other recalls, and compare all that are worth it."""
        most = max(measured.recall for measured in self._choose.measured.values())
        for recall in LADDER:
            if recall <= most:
                self._cheapest(_reaching(recall))
        members = [point.setting for point in self._front(SLACK)]
        self._compared |= self._choose.compare(members, FRONT_ROUNDS)

    def told(self, setting: Setting) -> tuple[float, tuple[float, float]]:
        """Return the recall of a setting on the queries that did not choose it, and its bounds."""
        measured = self._tell(setting)
        return measured.recall, interval(measured.shares, self._k)

    def us(self, setting: Setting) -> float:
        """Return the time of a query: the median of several runs, where there were several."""
        return self._compared.get(setting) or self._choose(setting).us

    def front(self, chosen: Setting) -> list[TunedPoint]:
        """Return the settings than which no other is faster and better, and the one that was chosen."""
        best = self._front(1)
        return [point for point in self._points() if point.setting == chosen or point in best]

    def _points(self) -> list[TunedPoint]:
        measured = self._choose.measured.items()
        points = [TunedPoint(setting, m.recall, self.us(setting)) for setting, m in measured]
        return sorted(points, key=lambda point: (point.us_per_query, -point.recall))

    def _front(self, slack: float) -> list[TunedPoint]:
        """Return the points that none of less time, by so much, is better than."""
        points = self._points()
        return [
            point
            for point in points
            if all(
                other.recall < point.recall
                for other in points
                if other.us_per_query * slack < point.us_per_query
                or (other.us_per_query == point.us_per_query and other.recall > point.recall)
            )
        ]

    def _cheapest(self, good: Callable[[Measured], bool]) -> list[Setting]:
        """Return the settings that are good and may be the fastest, fastest first."""

        def found(row: int) -> Found:
            setting = self._space.settings[row]
            return Found(good(self._choose(setting)), self.us(setting))

        known = {row: found(row) for row in self._measured()}
        rows = cheapest(self._space.points, found, known, SLACK)
        return [self._space.settings[row] for row, _ in rows]

    def _measured(self) -> list[int]:
        return [self._rows[setting] for setting in self._choose.measured]

    def _expecting(self, bound: float) -> Callable[[Measured], bool]:
        return lambda measured: self._expected(measured) >= bound

    def _expected(self, measured: Measured) -> float:
        """Return the lower bound that the other queries would have, if they found as much."""
        worth = trials(measured.shares, self._k) * len(self._tell) / len(self._choose)
        return lower_bound(measured.recall, worth)

    def _fastest_of(self, settings: list[Setting]) -> Setting:
        if len(settings) > 1 and not self._compared.keys() >= {*settings}:
            self._compared |= self._choose.compare(settings, ROUNDS)
        return min(settings, key=self.us)


def _reaching(recall: float) -> Callable[[Measured], bool]:
    return lambda measured: measured.recall >= recall
