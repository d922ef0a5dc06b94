"""What a case of ``measure.py`` is: an operation of ours, what it is compared with, the ratio aimed at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import faiss
import numpy as np

import drqfaiss
from benchmarks.speed.filled import Filler
from drqfaiss.cli.timing import Task


@dataclass
class Case:
    """One operation of ours and its peers.

    Attributes:
        title: what the table calls it.
        rows: what the tasks run on.
        own: our operation.
        peers: what it is compared with, by name.
        targets: the ratio (a peer's time / ours) asked for, by peer.
        all_rows: every run takes all rows; no trial run.
        runs: timed runs, if not as many as the option says.
        simd: another SIMD level of ours than the best.
        errors: gives, after the runs, our error / the peer's, by peer.
    """

    title: str
    rows: np.ndarray
    own: Task
    peers: dict[str, Task]
    targets: dict[str, float] = field(default_factory=dict)
    all_rows: bool = False
    runs: int | None = None
    simd: str | None = None
    errors: Callable[[], dict[str, float]] = dict


@dataclass
class Setting:
    """What all cases share: the indexes, the size of the largest, whether to run one ten times as large."""

    fill: Filler
    n: int
    large: bool

    @property
    def queries(self) -> np.ndarray:
        """At most 1000 queries."""
        return self.fill.data.query[:1000]


def searches(index: faiss.Index, k: int = 10, **parameters: object) -> Task:
    """Search all rows at once."""
    own = isinstance(index, drqfaiss.IndexDRQ)
    return Task(lambda rows: index.search(rows, k, **parameters), own)


def single_searches(index: faiss.Index, k: int = 10, threads: int = 1, **parameters: object) -> Task:
    """Search the rows one by one."""

    def run(rows: np.ndarray) -> None:
        for i in range(len(rows)):
            index.search(rows[i : i + 1], k, **parameters)

    return Task(run, isinstance(index, drqfaiss.IndexDRQ), threads)


def packed(index: drqfaiss.IndexDRQ) -> drqfaiss.IndexDRQ:
    """Give the index the optional second copy of its codes."""
    index.pack()
    return index


def levels(used: int) -> dict[str, drqfaiss.SearchParametersDRQ]:
    return {"params": drqfaiss.SearchParametersDRQ(levels=used)}
