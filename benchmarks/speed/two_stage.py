"""Scan the first levels, rank a shortlist by all: cases of ``measure.py`` whose titles say what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import faiss
import numpy as np

import drqfaiss
from benchmarks.speed.case import Case, Setting, packed, searches, single_searches
from drqfaiss.cli.timing import Task
from drqfaiss.evaluation import exact_neighbours, recall_at

FULL_SCAN = "all levels of 8 bits"


@dataclass
class Code:
    """Codes of one shape and how they are searched: so many first levels, and how many times k by all."""

    title: str
    kind: str
    levels: int
    first: int
    factor: int

    def parameters(self, k: int) -> dict[str, drqfaiss.SearchParametersDRQ]:
        """As many are ranked for every k."""
        factor = max(1, self.factor * 10 // k)
        return {"params": drqfaiss.SearchParametersDRQ(levels=self.first, refine_factor=factor)}


SIXTEEN_BYTES = (
    Code("16 levels of 8 bits, by 6", "level", 16, 6, 20),
    Code("12 levels of 4 bits and 10 of 8, by 12", "mixed", 22, 12, 20),
)
EIGHT_BYTES = (
    Code("8 levels of 8 bits, by 4", "level", 8, 4, 50),
    Code("8 levels of 4 bits and 4 of 8, by 8", "mixed", 12, 8, 50),
)


class Recalls:
    """Shares of queries whose nearest vector is among k results, on the base, where nothing repeats."""

    def __init__(self, setting: Setting) -> None:
        self.fill, self.queries = setting.fill, setting.queries

    @cached_property
    def _exact(self) -> np.ndarray:
        return exact_neighbours(self.fill.base, self.queries, k=1)

    def of(self, make: Callable[[int], faiss.Index], k: int, **parameters: object) -> str:
        """Return it as text, for the index that ``make`` fills with so many vectors."""
        ids = make(len(self.fill.base)).search(self.queries, k, **parameters)[1]
        return f"{recall_at(ids, self._exact, k):.3f}"


def two_stage(setting: Setting) -> Iterator[Case]:
    """Against the full scan, and fast-scan of as many and of half as many bytes."""
    n, recalls = setting.n, Recalls(setting)
    half, wanted = ("PQ16x4 fast-scan", 8), (1 / 0.45, 1.8, 1.3)
    for code in SIXTEEN_BYTES:
        targets = dict(zip((FULL_SCAN, "PQ32x4 fast-scan", half[0]), wanted, strict=True))
        yield case(setting, recalls, code, n, 10, {"PQ32x4 fast-scan": 16, half[0]: 8}, targets, searches)
    for code in EIGHT_BYTES:
        for k, target in ((10, 1.5), (100, 1.2)):
            yield case(setting, recalls, code, n, k, dict([half]), {half[0]: target}, searches)
        for size, target in ((n, 1.0), (n // 100, 0.7)):
            yield case(setting, recalls, code, size, 10, dict([half]), {half[0]: target}, single_searches)


def case(
    setting: Setting,
    recalls: Recalls,
    code: Code,
    size: int,
    k: int,
    fast_scans: dict[str, int],
    targets: dict[str, float],
    search: Callable[..., Task],
) -> Case:
    """Return a two-stage search beside the full scan of 8-bit codes of as many bytes, and peers by bytes."""
    fill, parameters = setting.fill, code.parameters(k)

    def own(n: int) -> drqfaiss.IndexDRQ:
        return fill.drq(n, code.levels, kind=code.kind)

    index, whole = own(size), fill.drq(size, own(0).code_size)
    single = search is single_searches
    if single:
        index, whole = packed(index), packed(whole)
    peers = {named(FULL_SCAN, recalls.of(lambda n: fill.drq(n, own(0).code_size), k)): search(whole, k)}
    for name, M in fast_scans.items():
        recall = recalls.of(partial(fill.fast_scan, levels=M), k)
        peers[named(name, recall)] = search(fill.fast_scan(size, M), k)
    found = recalls.of(own, k, **parameters)
    title = f"{'one query, packed, ' * single}{code.title}, N = {size:,}, k = {k}"
    wanted = {name: target for name in peers for peer, target in targets.items() if name.startswith(peer)}
    return Case(named(title, found), setting.queries, search(index, k, **parameters), peers, wanted)


def named(title: str, recall: str) -> str:
    """Return a title with what is found."""
    return f"{title} (recall {recall})"
