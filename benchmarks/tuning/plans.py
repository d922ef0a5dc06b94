"""Compares what `drqfaiss.plan` expects of indexes with what they turn out to be.

A sample of the base plans, and half of the queries. The index is trained on the learn set and
filled with all of the base; its recall is that of the most thorough search for the other queries,
its memory what a new process grows by when it reads the file and searches. The table goes to
stdout; it and all figures as JSON are saved in the output folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass

# Spinning OpenMP threads distort every figure on a shared machine; libgomp reads this once, on loading.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy as np

import drqfaiss
from benchmarks.common import report
from benchmarks.tuning.common import load, parser_of, publish
from drqfaiss._indexes.settings import searched_with, thorough
from drqfaiss.datasets import Dataset
from drqfaiss.evaluation import intersection_at

MEMORY_QUERIES = 100  # searched before memory is read: norms are there then


@dataclass
class Result:
    """One plan, and the index that was built by it.

    Attributes:
        asked: recall, or bytes of memory.
        description: of the index.
        expected: recall k@k.
        found: recall k@k of the index.
        memory_expected: bytes.
        memory_found: bytes that a process grew by.
    """

    asked: str
    description: str
    expected: float
    found: float
    memory_expected: int
    memory_found: int


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data, truth = load(options)
    asked = [{"recall": recall} for recall in options.recalls]
    asked += [{"memory": limit} for limit in options.memory]
    results = [planned(limit, data, truth, options) for limit in asked]
    text = page(report.machine(data, options.seed, "all"), results)
    publish(options.out, f"plans-{data.name}", text, results)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__, quality="default")
    parser.add_argument("--recalls", type=float, nargs="*", default=[0.5, 0.7, 0.9], help="to ask for")
    parser.add_argument("--memory", type=float, nargs="*", default=[3e7], help="bytes to allow")
    parser.add_argument("--sample", type=int, default=20_000, help="base vectors that plan")
    return parser.parse_args(arguments)


def planned(limit: dict[str, float], data: Dataset, truth: np.ndarray, options: argparse.Namespace) -> Result:
    """Plan, build, measure."""
    chosen = np.random.default_rng(options.seed).permutation(len(data.base))[: options.sample]
    plan = drqfaiss.plan(
        len(data.base),
        data.d,
        sample=data.base[chosen],
        queries=data.query[::2],
        metric=data.metric,
        k=options.k,
        quality=options.quality,
        **limit,
    )
    index = plan.build()
    index.train(data.learn)
    index.add(data.base)
    with searched_with(index, thorough(index)):
        found = index.search(data.query[1::2], options.k)[1]
    return Result(
        ", ".join(f"{name} {value:,g}" for name, value in limit.items()),
        plan.description,
        plan.recall,
        float(intersection_at(found, truth[1::2], options.k)),
        plan.memory,
        memory_of(index, data.query),
    )


def memory_of(index: faiss.Index, queries: np.ndarray) -> int:
    """Return how many bytes a new process grows by that reads an index and searches it."""
    with tempfile.TemporaryDirectory() as folder:
        drqfaiss.write_index(index, f"{folder}/index.faiss")
        np.save(f"{folder}/queries.npy", queries[:MEMORY_QUERIES])
        told = subprocess.run(
            [sys.executable, "-m", "benchmarks.tuning.memory", folder],
            check=True,
            capture_output=True,
            text=True,
        )
    return int(told.stdout)


def page(about: dict[str, str], results: list[Result]) -> str:
    """Return the table."""
    rows = [
        [
            result.asked,
            f"`{result.description}`",
            f"{result.expected:.3f}",
            f"{result.found:.3f}",
            f"{result.memory_expected / 1e6:.1f}",
            f"{result.memory_found / 1e6:.1f}",
        ]
        for result in results
    ]
    head = ["asked for", "index", "recall expected", "found", "MB expected", "found"]
    return report.page(about, head, rows, "")


if __name__ == "__main__":
    main()
