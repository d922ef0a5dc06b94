"""What the benchmarks of tuning and of planning have in common: options, data, and where results go."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import vectors
from drqfaiss.datasets import Dataset
from drqfaiss.evaluation import exact_neighbours


def parser_of(module: str, quality: str) -> argparse.ArgumentParser:
    """Return a parser of the options of both.

    Args:
        module: its text, whose first line is the description.
        quality: of the training, where none is named.
    """
    parser = argparse.ArgumentParser(
        description=module.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    vectors.add_options(parser)
    parser.add_argument("--metric", choices=vectors.METRICS, help="default: what the file says, else l2")
    parser.add_argument("--k", type=int, default=10, help="neighbours of a search")
    parser.add_argument("--quality", default=quality, help="of the training")
    parser.add_argument("--out", default="benchmarks/results", help="output folder")
    return parser


def load(options: argparse.Namespace) -> tuple[Dataset, np.ndarray]:
    """Return the data, and the exact neighbours of its queries, (queries, k)."""
    data = vectors.load(options, vectors.METRICS.get(options.metric))
    truth = data.groundtruth
    if truth is None:
        truth = exact_neighbours(data.base, data.query, options.k, data.metric)
    return data, truth[:, : options.k]


def publish(out: str, name: str, text: str, results: Sequence[Any]) -> None:
    """Print a table; save it, and all figures as JSON.

    Args:
        out: the folder.
        name: of both files.
        text: the table.
        results: instances of a dataclass.
    """
    print(text)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text + "\n")
    figures = json.dumps([asdict(result) for result in results], indent=1)
    (folder / f"{name}.json").write_text(figures + "\n")
