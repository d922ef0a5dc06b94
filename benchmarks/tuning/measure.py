"""Compares `drqfaiss.tune` with measurements of every setting, on several splits of the queries.

Of every split, half of the queries tune and the others are unseen: on them a promised recall is checked. The
fastest setting of the whole grid that the same queries show to reach it is what tuning should have found; the
two are timed in turns. The table goes to stdout; it and all figures as JSON are saved in the output folder.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass

# Spinning OpenMP threads distort every figure on a shared machine; libgomp reads this once, on loading.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy as np
from tqdm import tqdm

import drqfaiss
from benchmarks.common import report
from benchmarks.tuning.common import load, parser_of, publish
from drqfaiss._indexes.settings import Setting
from drqfaiss._threads import on_threads
from drqfaiss._tuning.interval import interval
from drqfaiss._tuning.measuring import ENOUGH_SECONDS, Measured, Measuring
from drqfaiss._tuning.space import Space
from drqfaiss.datasets import Dataset

ROUNDS = 7


@dataclass
class Result:
    """One call of `tune`, beside the grid.

    Attributes:
        factory: the index.
        split: which queries tuned.
        asked: recall.
        reached: whether tuning says so.
        promised: the lower bound that it names.
        unseen: recall on queries that it never saw.
        setting: that it chose.
        best: setting of the grid, None where none reaches the recall.
        time: µs of a query with what was chosen, as a share of the best one's.
        cost: CPU time of tuning, as a share of the grid's.
    """

    factory: str
    split: int
    asked: float
    reached: bool
    promised: float
    unseen: float
    setting: str
    best: str | None
    time: float | None
    cost: float


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data, truth = load(options)
    results = [r for factory in options.factory for r in run(factory, data, truth, options)]
    text = page(report.machine(data, options.seed, "1 (building: all)"), results)
    publish(options.out, f"tuning-{data.name}", text, results)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__, quality="fast")
    parser.add_argument("--factory", nargs="+", default=["DRQ16x8", "IVF256,DRQ8x8,RFlat"], help="indexes")
    parser.add_argument("--recalls", type=float, nargs="+", default=[0.5, 0.7, 0.8, 0.9, 0.95, 0.99])
    parser.add_argument("--splits", type=int, default=4, help="of the queries")
    return parser.parse_args(arguments)


def run(factory: str, data: Dataset, truth: np.ndarray, options: argparse.Namespace) -> list[Result]:
    """Tune an index for every recall and split."""
    index = drqfaiss.index_factory(
        data.d, factory, data.metric, seed=options.seed, quality=options.quality, progress=False
    )
    index.train(data.learn)
    index.add(data.base)
    with on_threads(1):
        space = Space(index, options.k)
        everything = Measuring(index, data.query, truth, lambda: None)
        grid = {setting: everything(setting) for setting in tqdm(space.settings, desc=factory)}
        # Tuning measures with the queries that choose, a sixth of all, and repeats short searches.
        times = (measured.us * len(data.query) / 6e6 for measured in grid.values())
        grid_seconds = sum(max(seconds, ENOUGH_SECONDS) for seconds in times)
        return [
            tuned(factory, split, recall, index, data, truth, grid, grid_seconds, options)
            for split in tqdm(range(options.splits), desc=factory, unit="split")
            for recall in options.recalls
        ]


def tuned(
    factory: str,
    split: int,
    recall: float,
    index: faiss.Index,
    data: Dataset,
    truth: np.ndarray,
    grid: dict[Setting, Measured],
    grid_seconds: float,
    options: argparse.Namespace,
) -> Result:
    """Tune by half of the queries, and hold the result against the grid."""
    seen, unseen = np.array_split(np.random.default_rng(split).permutation(len(data.query)), 2)
    began = time.process_time()
    found = drqfaiss.tune(
        index, data.query[seen], k=options.k, recall=recall, neighbours=truth[seen], progress=False
    )
    seconds = time.process_time() - began
    best = fastest(grid, seen, recall, options.k)
    share = None
    if found.reached and best is not None:
        compared = Measuring(index, data.query[seen], truth[seen], lambda: None)
        times = compared.compare([found.setting, best], ROUNDS)
        share = times[found.setting] / times[best]
    return Result(
        factory,
        split,
        recall,
        found.reached,
        found.low,
        float(grid[found.setting].shares[unseen].mean()),
        repr(found).split("\n")[0],
        None if best is None else str(dict(best._asdict())),
        share,
        seconds / grid_seconds,
    )


def fastest(grid: dict[Setting, Measured], seen: np.ndarray, recall: float, k: int) -> Setting | None:
    """Return the fastest setting that two thirds of the queries show to reach a recall, as tuning asks."""
    telling = seen[np.random.default_rng(0).permutation(len(seen))[len(seen) // 3 :]]
    reaching = [s for s, measured in grid.items() if interval(measured.shares[telling], k)[0] >= recall]
    return min(reaching, key=lambda setting: grid[setting].us, default=None)


def page(about: dict[str, str], results: list[Result]) -> str:
    """Lay out a line for every index and recall."""
    columns = [
        "index",
        "recall",
        "reached",
        "held on unseen queries",
        "time / best of the grid",
        "cost / grid",
    ]
    lines = []
    for factory, asked in dict.fromkeys((r.factory, r.asked) for r in results):
        group = [r for r in results if (r.factory, r.asked) == (factory, asked)]
        reached = [r for r in group if r.reached]
        shares = [r.time for r in reached if r.time is not None]
        lines.append(
            [
                factory,
                f"{asked:g}",
                f"{len(reached)} of {len(group)}",
                f"{sum(r.unseen >= asked for r in reached)} of {len(reached)}",
                f"{np.median(shares):.2f} (most {max(shares):.2f})" if shares else "",
                f"{np.median([r.cost for r in group]):.3f}",
            ]
        )
    notes = (
        "- reached: tuning says that the recall holds; else it returns the best there is.\n"
        "- time: medians of searches in turns, what was chosen against the fastest setting of the grid that\n"
        "  the same queries show to reach the recall.\n"
        "- cost: CPU time, tuning with its whole front against one search with every setting of the grid."
    )
    return report.page(about, columns, lines, notes)


if __name__ == "__main__":
    main()
