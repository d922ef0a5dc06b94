"""What a comparison leaves behind: a Markdown table, a JSON file and plots."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import plots, report
from benchmarks.common.plots import Curve
from drqfaiss.datasets import Dataset

NOTES = """
- A DRQ row is a prefix of ONE code trained once; all other rows are trained separately for their length.
- Memory counts what a search needs per vector: the whole stored code (DRQ keeps its longest one) and the norm
  that L2 needs (DRQ caches a float32 per vector and length in use, RQ and LSQ store a float32 in the code).
- Parameters: the floats that training learns, codebooks, scales and rotations (DRQ's of the whole model).
- Training is CPU time, all threads added up. Encoding and search times are medians of several runs, searches
  of all rows in turns; each FAISS row is quoted at the SIMD level that is fastest for it, in brackets.
- Error: mean squared reconstruction error of base vectors, as a share of their variance.
- 1@k: share of the queries whose true nearest neighbour is among the first k results.
- With several seeds: mean ± standard deviation, medians of training and encoding times, searches timed on the
  first. A seed is another order of the learn set, which starts every method elsewhere.
""".strip()
FIGURES = "results.json"


@dataclass
class Row:
    """One line of the table, of one seed; search times are filled in after all indexes are built.

    Attributes:
        levels: of the DRQ model that this length is a prefix of; 0: not DRQ.
        train_s: CPU seconds.
        error: relative squared error, None where codes cannot be decoded.
    """

    method: str
    levels: int
    seed: int
    code_bytes: int
    memory_bytes: int
    parameters: int
    train_s: float
    encode_us: float
    encode_simd: str | None
    error: float | None
    recall: dict[int, float]
    search_us: float | None = None
    search_simd: str | None = None

    @property
    def label(self) -> str:
        """Unique name of the row."""
        return f"{self.method} {self.levels} {self.code_bytes} {self.seed}"


def header(data: Dataset, options: dict) -> dict[str, str]:
    """Collect what a reader needs to judge a comparison."""
    return {
        **report.machine(data, options["seed"], f"{options['threads']} (training: all)"),
        "Timing": f"k = {options['k']}, median of {options['runs']} runs, "
        f"{'CPU' if options['threads'] == 1 else 'wall-clock'} time",
    }


def markdown(about: dict[str, str], rows: list[Row]) -> str:
    """Lay out header, table and notes of a comparison."""
    ranks = list(rows[0].recall)
    columns = ["method", "code bytes", "bytes in memory", "parameters", "training s", "encode µs/vector"]
    timings = any(row.search_us is not None for row in rows)
    columns += ["error", *(f"1@{k}" for k in ranks), *["µs/query"] * timings]
    lines, shared = [], None
    for name, curve in curves(rows).items():
        for seeds in curve:
            row, training = seeds[0], (name, seeds[0].train_s)
            encoding = median_row(seeds, "encode_us")
            lines.append(
                [
                    name,
                    str(row.code_bytes),
                    str(row.memory_bytes),
                    f"{row.parameters:,}",
                    "same" if training == shared else f"{median_row(seeds, 'train_s').train_s:.1f}",
                    report.timed(encoding.encode_us, encoding.encode_simd),
                    "" if row.error is None else spread([row.error for row in seeds]),
                    *(spread([row.recall[k] for row in seeds]) for k in ranks),
                    *[_search_time(row)] * timings,
                ]
            )
            shared = training
    return report.page(about, columns, lines, NOTES)


def _search_time(row: Row) -> str:
    return "" if row.search_us is None else report.timed(row.search_us, row.search_simd)


def curves(rows: list[Row]) -> dict[str, list[list[Row]]]:
    """Return by name of the method, for every code length, shortest first, the rows of all seeds."""
    models = {(row.method, row.levels): {} for row in rows}
    for row in rows:
        models[row.method, row.levels].setdefault(row.code_bytes, []).append(row)
    methods = [method for method, _ in models]
    return {
        f"{method}, {levels} levels" if methods.count(method) > 1 else method: [
            sorted(lengths[m], key=lambda row: row.seed) for m in sorted(lengths)
        ]
        for (method, levels), lengths in models.items()
    }


def median_row(rows: list[Row], time: str) -> Row:
    """Return the row whose time is the median, of two the faster one."""
    return sorted(rows, key=attrgetter(time))[(len(rows) - 1) // 2]


def spread(values: list[float]) -> str:
    """Write the mean and, of several values, the standard deviation."""
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.3f}"


def read(folder: Path) -> list[Row]:
    """Read the rows that `write_figures` left in a folder; none without a file."""
    file = folder / FIGURES
    return rows_of(json.loads(file.read_text())) if file.exists() else []


def rows_of(figures: dict[str, Any]) -> list[Row]:
    """Return the rows in the figures of a comparison."""
    return [
        Row(**{**row, "recall": {int(k): value for k, value in row["recall"].items()}})
        for row in figures["rows"]
    ]


def write_figures(folder: Path, about: dict[str, str], rows: list[Row]) -> None:
    """Write all figures as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"about": about, "rows": [asdict(row) for row in rows]}
    (folder / FIGURES).write_text(json.dumps(figures, indent=1) + "\n")


def save(folder: Path, about: dict[str, str], rows: list[Row]) -> str:
    """Write results.md, results.json and the plots; return the Markdown."""
    write_figures(folder, about, rows)
    text = markdown(about, rows)
    (folder / "results.md").write_text(text + "\n")
    plot_recall_bytes(folder / "recall-bytes.svg", about, rows)
    if all(row.search_us is not None for row in rows):
        plot_recall_speed(folder / "recall-speed.svg", about, rows)
    return text


def middle_rank(rows: list[Row]) -> int:
    """Return the k of the 1@k that plots show."""
    return sorted(rows[0].recall)[len(rows[0].recall) // 2]


def plot_recall_bytes(path: Path, about: dict[str, str], rows: list[Row]) -> None:
    """Plot recall over the length of the code, of every method in turn before the others."""
    k = middle_rank(rows)
    drawn = [
        Curve(
            name,
            [seeds[0].code_bytes for seeds in curve],
            [float(np.mean([row.recall[k] for row in seeds])) for seeds in curve],
        )
        for name, curve in curves(rows).items()
    ]
    drawn.sort(key=lambda curve: plots.method_of(curve.name) != "DRQ")
    plots.save(
        plots.compare(
            drawn,
            f"Recall 1@{k} over the bytes of a code",
            report.caption(about),
            xlabel="bytes per code",
            ylabel=f"recall 1@{k}",
            ylim=(0, 1.02),
        ),
        path,
    )


def plot_recall_speed(path: Path, about: dict[str, str], rows: list[Row]) -> None:
    """Plot recall over the time per query, a point for each length; up and to the left is better."""
    k = middle_rank(rows)
    drawn = []
    for name, curve in curves(rows).items():
        firsts = [seeds[0] for seeds in curve]
        drawn.append(Curve(name, [row.search_us for row in firsts], [row.recall[k] for row in firsts]))
    lengths = ", ".join(map(str, sorted({row.code_bytes for row in rows})))
    plots.save(
        plots.compare(
            drawn,
            f"Recall 1@{k} over the time of a query; codes of {lengths} bytes",
            report.caption(about),
            xlabel="µs per query (log)",
            ylabel=f"recall 1@{k}",
            xscale="log",
            ylim=(0, 1.02),
        ),
        path,
    )
