"""Fair timing on a machine that may be busy: interleaved runs, medians, FAISS at its best SIMD level."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import faiss
import numpy as np

from drqfaiss._progress import bar

TRIAL_ROWS = 8
SIMD_NAMES = ("NONE", "AVX2", "AVX512", "AVX512_VPOPCNT", "AVX512_SPR")


@dataclass(frozen=True)
class Task:
    """Something to time.

    Attributes:
        run: takes rows (queries or vectors to encode).
        own: FAISS's SIMD level has no part in it.
        threads: of OpenMP.
        prepare: called before every run, not timed.
    """

    run: Callable[[np.ndarray], object]
    own: bool
    threads: int = 1
    prepare: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Timing:
    """Median time per row, and the FAISS SIMD level that gave it (None: FAISS's dispatch had no part).

    ``spread`` is how far apart the fastest and the slowest run were, as a share of the median.
    """

    us: float
    simd: str | None
    spread: float = 0.0


def faiss_simd_levels(at_most: str | None = None) -> list[str]:
    """Names of the SIMD levels this FAISS wheel can be switched to on this machine; empty if it cannot.

    Levels above ``at_most`` are left out.
    """
    if not hasattr(faiss, "SIMDConfig"):
        return []
    wanted = SIMD_NAMES if at_most is None else SIMD_NAMES[: SIMD_NAMES.index(at_most) + 1]
    known = [name for name in wanted if hasattr(faiss, f"SIMDLevel_{name}")]
    return [name for name in known if faiss.SIMDConfig.is_simd_level_available(_level(name))]


def best_times(
    tasks: dict[str, Task],
    rows: np.ndarray,
    runs: int,
    seconds: float | None,
    title: str,
    at_most: str | None = None,
    shown: bool = True,
) -> dict[str, Timing]:
    """Time every task at every SIMD level, one after the other, ``runs`` times over.

    Interleaving spreads a disturbance over all of them. Each run takes as many rows as fit into ``seconds``,
    or all of them, without a trial, where ``seconds`` is None. FAISS's SIMD levels above ``at_most`` are left
    out. A progress bar is shown if asked for.

    Returns:
        for every task its median at the level where that is least.
    """
    variants = _variants(tasks, at_most)
    # One thread's CPU time does not contain what other programs took; several threads' does not show waiting.
    one_thread = all(task.threads == 1 for task in tasks.values())
    clock = time.process_time if one_thread else time.perf_counter
    with _settings_restored() as use_simd:

        def run(variant: _Variant, rows: np.ndarray) -> float:
            use_simd(variant.simd)
            return _time(tasks[variant.task], rows, clock)

        batches = {
            v: rows if seconds is None else _fitting_rows(partial(run, v), rows, seconds) for v in variants
        }
        times: dict[_Variant, list[float]] = {v: [] for v in variants}
        with bar(title, "round", runs, shown=shown) as progress:
            for _ in range(runs):
                for v in variants:
                    times[v].append(run(v, batches[v]))
                progress.update()
    medians = {v: _timing(times[v], v.simd) for v in variants}
    return {name: _best(timing for v, timing in medians.items() if v.task == name) for name in tasks}


class _Variant(NamedTuple):
    """A task at a SIMD level of FAISS's, None where that has no part in it."""

    task: str
    simd: str | None


def _variants(tasks: dict[str, Task], at_most: str | None) -> list[_Variant]:
    levels: list[str | None] = [*faiss_simd_levels(at_most)] or [None]
    return [
        _Variant(name, level) for name, task in tasks.items() for level in ([None] if task.own else levels)
    ]


def _timing(us: list[float], simd: str | None) -> Timing:
    median = float(np.median(us))
    return Timing(median, simd, (max(us) - min(us)) / median)


def _best(timings: Iterable[Timing]) -> Timing:
    return min(timings, key=lambda timing: timing.us)


@contextmanager
def _settings_restored() -> Iterator[Callable[[str | None], None]]:
    """Give what sets FAISS's SIMD level, None the one at the start; restore it and the threads at the end."""
    threads = faiss.omp_get_max_threads()
    at_start = faiss.SIMDConfig.get_level() if faiss_simd_levels() else None

    def use(name: str | None) -> None:
        if at_start is not None:
            faiss.SIMDConfig.set_level(at_start if name is None else _level(name))

    try:
        yield use
    finally:
        use(None)
        faiss.omp_set_num_threads(threads)


def _fitting_rows(run: Callable[[np.ndarray], float], rows: np.ndarray, seconds: float) -> np.ndarray:
    # The first call may fill caches; a single row tells whether TRIAL_ROWS would take too long.
    run(rows[:1])
    for trial in (1, TRIAL_ROWS):
        count = int(seconds * 1e6 / run(rows[:trial]))
        if count < TRIAL_ROWS:
            break
    return rows[: max(1, count)]


def _time(task: Task, rows: np.ndarray, clock: Callable[[], float]) -> float:
    faiss.omp_set_num_threads(task.threads)
    task.prepare()
    start = clock()
    task.run(rows)
    return (clock() - start) / len(rows) * 1e6


def _level(name: str) -> int:
    return getattr(faiss, f"SIMDLevel_{name}")
