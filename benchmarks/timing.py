"""Fair timing on a machine that may be busy: interleaved runs, medians, FAISS at its best SIMD level."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import faiss
import numpy as np
from tqdm import tqdm

TRIAL_ROWS = 8
SIMD_NAMES = ("NONE", "AVX2", "AVX512", "AVX512_VPOPCNT", "AVX512_SPR")


@dataclass(frozen=True)
class Task:
    """Something to time: ``run`` takes rows (queries or vectors to encode)."""

    run: Callable[[np.ndarray], object]
    own: bool


@dataclass(frozen=True)
class Timing:
    """Median time per row, and the FAISS SIMD level that gave it (None: FAISS's dispatch had no part)."""

    us: float
    simd: str | None


def faiss_simd_levels() -> list[str]:
    """Names of the SIMD levels this FAISS wheel can be switched to on this machine; empty if it cannot."""
    if not hasattr(faiss, "SIMDConfig"):
        return []
    known = [name for name in SIMD_NAMES if hasattr(faiss, f"SIMDLevel_{name}")]
    return [name for name in known if faiss.SIMDConfig.is_simd_level_available(_level(name))]


def best_times(
    tasks: dict[str, Task], rows: np.ndarray, runs: int, seconds: float, title: str
) -> dict[str, Timing]:
    """Time every task at every SIMD level, one after the other, ``runs`` times over.

    Interleaving spreads a disturbance over all of them. Each run takes as many rows as fit into ``seconds``.

    Returns:
        for every task its median at the level where that is least.
    """
    at_start = faiss.SIMDConfig.get_level() if faiss_simd_levels() else None
    levels = faiss_simd_levels() or [None]
    variants = [(name, level) for name, task in tasks.items() for level in ([None] if task.own else levels)]
    try:
        batch = {v: _fitting_rows(tasks[v[0]], v[1], at_start, rows, seconds) for v in variants}
        times: dict[tuple[str, str | None], list[float]] = {v: [] for v in variants}
        for _ in tqdm(range(runs), desc=title, unit="round", leave=False):
            for v in variants:
                _set_level(v[1], at_start)
                times[v].append(_time(tasks[v[0]], batch[v]))
    finally:
        _set_level(None, at_start)
    medians = {v: float(np.median(times[v])) for v in variants}
    return {
        name: min(
            (Timing(us, v[1]) for v, us in medians.items() if v[0] == name), key=lambda timing: timing.us
        )
        for name in tasks
    }


def _fitting_rows(
    task: Task, level: str | None, at_start: int | None, rows: np.ndarray, seconds: float
) -> np.ndarray:
    _set_level(level, at_start)
    # The first call may fill caches.
    task.run(rows[:TRIAL_ROWS])
    count = int(seconds * 1e6 / _time(task, rows[:TRIAL_ROWS]))
    return rows[: max(TRIAL_ROWS, count)]


def _time(task: Task, rows: np.ndarray) -> float:
    # One thread's CPU time does not contain what other programs took; several threads' does not show waiting.
    clock = time.process_time if faiss.omp_get_max_threads() == 1 else time.perf_counter
    start = clock()
    task.run(rows)
    return (clock() - start) / len(rows) * 1e6


def _level(name: str) -> int:
    return getattr(faiss, f"SIMDLevel_{name}")


def _set_level(name: str | None, default: int | None) -> None:
    if default is not None:
        faiss.SIMDConfig.set_level(default if name is None else _level(name))
