"""What curves of recall against speed say: fronts, ratios at equal recall, and which targets are reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.ivf.methods import (
    DRQ,
    DRQ_SHORT,
    FAST_SCAN,
    HALF_WEIGHTED,
    IVF_PQ,
    IVF_RQ,
    REFINED,
    SAME_MEMORY,
    drq_name,
)

JUDGED_K = 10
# How many times as fast as a peer we want to be at every recall it attains.
SPEED_TARGETS = {
    IVF_PQ: 3.0,
    IVF_RQ: 3.0,
    FAST_SCAN: 1.3,
    IVF_PQ + SAME_MEMORY: 3.0,
    FAST_SCAN + SAME_MEMORY: 1.3,
    IVF_PQ + REFINED: None,
    FAST_SCAN + REFINED: None,
}
HALF_SPEED_TARGET = 1.4
HALF_RECALL_TARGET = -0.02


@dataclass(frozen=True)
class Point:
    """One search setting of one method: its recall and its time per query."""

    family: str
    method: str
    settings: dict[str, int]
    threads: int
    k: int
    recall: dict[int, float]
    us: float
    simd: str | None

    @property
    def qps(self) -> float:
        """Queries per second."""
        return 1e6 / self.us


@dataclass(frozen=True)
class Check:
    """A figure at several places, all of which should reach the target."""

    title: str
    threads: int
    figures: dict[str, float]
    target: float | None

    @property
    def least(self) -> float:
        """The figure at its worst place."""
        return min(self.figures.values())

    @property
    def met(self) -> bool | None:
        """Whether the target was reached everywhere; None without one."""
        return None if self.target is None else self.least >= self.target


def front(points: Iterable[Point], rank: int) -> list[Point]:
    """Return the points that no other beats in both 1@rank and speed, fastest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.qps, -p.recall[rank])):
        if not best or point.recall[rank] > best[-1].recall[rank]:
            best.append(point)
    return best


def fastest(points: Iterable[Point], recall: float, rank: int = JUDGED_K) -> Point | None:
    """Return the fastest point of at least this 1@rank, None if there is none."""
    reaching = [point for point in points if point.recall[rank] >= recall]
    return max(reaching, key=lambda point: point.qps, default=None)


def checks(points: list[Point]) -> list[Check]:
    """Hold the curves against the targets, as far as the methods for it were measured."""
    judged = [point for point in points if point.k == JUDGED_K]
    return [
        check
        for threads in sorted({point.threads for point in judged})
        for check in _checks([point for point in judged if point.threads == threads], threads)
        if check.figures
    ]


def _checks(points: list[Point], threads: int) -> Iterator[Check]:
    families = {family: [p for p in points if p.family == family] for family in {p.family for p in points}}
    for family, target in SPEED_TARGETS.items():
        own = families.get(DRQ + REFINED if family.endswith(REFINED) else DRQ, [])
        ratios = _ratios(own, families.get(family, [])) if own else {}
        yield Check(f"times as fast as {family} at its 1@10", threads, ratios, target)
    for variant in ("", HALF_WEIGHTED):
        yield from _half_levels(variant, families.get(DRQ, []), families.get(DRQ_SHORT, []), threads)
    equal_bytes = [families[family] for family in (IVF_PQ, IVF_RQ, FAST_SCAN) if family in families]
    if DRQ in families:
        above = {peer[0].family: _ceiling(families[DRQ]) - _ceiling(peer) for peer in equal_bytes}
        yield Check("highest 1@10, above that of", threads, above, 0.0)


def _ratios(own: list[Point], peer: list[Point]) -> dict[str, float]:
    """Return (our best speed at the recall a peer attains) / its speed, 0 where we do not attain it."""
    ratios = {}
    for point in front(peer, JUDGED_K):
        match = fastest(own, point.recall[JUDGED_K])
        ratios[f"{point.recall[JUDGED_K]:.3f}"] = match.qps / point.qps if match else 0.0
    return ratios


def _half_levels(variant: str, own: list[Point], short: list[Point], threads: int) -> Iterator[Check]:
    """Half of the levels against all of them, and against an index trained for half of them."""
    speed, recall = {}, {}
    by_setting = {(point.method, *point.settings.items()): point for point in own}
    for trained in short:
        doubled = {**trained.settings, "levels": 2 * trained.settings["levels"]}
        name = drq_name(doubled["levels"]) + variant
        half = by_setting.get((name, *trained.settings.items()))
        whole = by_setting.get((name, *doubled.items()))
        if half and whole:
            place = f"nprobe {trained.settings['nprobe']}"
            speed[place] = half.qps / whole.qps
            recall[place] = half.recall[JUDGED_K] - trained.recall[JUDGED_K]
    title = f"half of the levels{variant and ','}{variant}: "
    yield Check(title + "times as fast as all, same nprobe", threads, speed, HALF_SPEED_TARGET)
    yield Check(title + "1@10 above an index trained for it", threads, recall, HALF_RECALL_TARGET)


def _ceiling(points: list[Point]) -> float:
    return max(point.recall[JUDGED_K] for point in points)
