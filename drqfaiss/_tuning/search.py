"""Searches the settings of an index: the fastest for a recall, the best for a time, and what lies between."""

from __future__ import annotations

import math
from collections.abc import Callable

from drqfaiss._indexes.settings import Setting
from drqfaiss._tuning.dominance import Found, cheapest
from drqfaiss._tuning.interval import interval, trials
from drqfaiss._tuning.measuring import Measured, Measuring
from drqfaiss._tuning.space import Space
from drqfaiss._tuning.tuned import TunedPoint

SLACK = 1.15  # Times of one run are wrong by so much.
ROUNDS = 3
FRONT_ROUNDS = 1
MOST_COMPARED = 6
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
        self._refuted: set[Setting] = set()

    def fastest(self, recall: float) -> tuple[Setting, bool]:
        """Return the fastest setting whose recall holds, or the one with the best recall and False.

        Settings that may reach it by the choosing queries, the fastest first, are held against the others.
        What is measured already is not measured again.
        """
        # Two stages find no more than one of all levels, which is the fastest of what finds as much.
        best = self._choose(self._space.settings[self._space.most_thorough])
        self._choose(self._space.settings[self._space.mostly_ranking])

        def may_reach(setting: Setting) -> bool:
            return setting not in self._refuted and self._optimistic(self._choose(setting)) >= recall

        while self._optimistic(best) >= recall and (found := self._cheapest(may_reach)):
            setting = self._fastest_of(found[:MOST_COMPARED])
            if self.told(setting)[1][0] >= recall:
                return setting, True
            self._refuted.add(setting)
        found = self._cheapest(self._reaches(best.recall))
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
        budget = len(self._choose.measured) * 3 // 2
        for recall in LADDER:
            if recall <= most:
                self._cheapest(self._reaches(recall), most=max(0, budget - len(self._choose.measured)))
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

    def _reaches(self, recall: float) -> Callable[[Setting], bool]:
        return lambda setting: self._choose(setting).recall >= recall

    def _cheapest(self, good: Callable[[Setting], bool], most: int | None = None) -> list[Setting]:
        """Return the settings that are good and may be the fastest, fastest first."""

        def found(row: int) -> Found:
            setting = self._space.settings[row]
            return Found(good(setting), self.us(setting))

        known = {row: found(row) for row in self._measured()}
        rows = cheapest(self._space.points, found, known, SLACK, self._space.effort, most)
        return [self._space.settings[row] for row, _ in rows]

    def _measured(self) -> list[int]:
        return [self._rows[setting] for setting in self._choose.measured]

    def _optimistic(self, measured: Measured) -> float:
        """Return a recall that the choosing queries do not rule out: higher by its standard deviation."""
        share, n = measured.recall, trials(measured.shares, self._k)
        return share + math.sqrt(share * (1 - share) / n)

    def _fastest_of(self, settings: list[Setting]) -> Setting:
        if len(settings) > 1 and not self._compared.keys() >= {*settings}:
            self._compared |= self._choose.compare(settings, ROUNDS)
        return min(settings, key=self.us)
