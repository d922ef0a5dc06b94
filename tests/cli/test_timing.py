"""How tasks are run when they are timed."""

import faiss
import numpy as np

from drqfaiss.cli import timing


def test_all_rows_are_run_without_a_trial_and_prepared_before_every_run():
    rows, calls = np.zeros((5, 1)), []
    task = timing.Task(lambda x: calls.append(len(x)), own=True, prepare=lambda: calls.append("prepare"))
    timing.best_times({"": task}, rows, runs=2, seconds=None, title="")
    assert calls == ["prepare", 5, "prepare", 5]


def test_slow_tasks_get_few_rows_fast_ones_all():
    def slow(rows):
        end = timing.time.process_time() + 0.002 * len(rows)
        while timing.time.process_time() < end:
            pass

    rows, counts = np.zeros((50, 1)), {"slow": [], "fast": []}
    tasks = {
        "slow": timing.Task(lambda x: (counts["slow"].append(len(x)), slow(x)), own=True),
        "fast": timing.Task(lambda x: counts["fast"].append(len(x)), own=True),
    }
    timings = timing.best_times(tasks, rows, runs=1, seconds=0.01, title="")
    assert max(counts["slow"]) < timing.TRIAL_ROWS
    assert counts["fast"][-1] == 50
    assert timings["slow"].us >= 2000 > timings["fast"].us


def test_every_task_gets_its_threads_and_the_setting_comes_back():
    before, seen = faiss.omp_get_max_threads(), []
    tasks = {n: timing.Task(lambda _: seen.append(faiss.omp_get_max_threads()), True, n) for n in (1, 2)}
    timing.best_times(tasks, np.zeros((1, 1)), runs=1, seconds=None, title="")
    assert seen == [1, 2]
    assert faiss.omp_get_max_threads() == before


def test_simd_levels_above_the_highest_asked_for_are_left_out():
    levels = timing.faiss_simd_levels()
    assert timing.faiss_simd_levels("AVX2") == [name for name in levels if name in ("NONE", "AVX2")]
