"""What a comparison leaves behind: a Markdown table, a JSON file and two plots."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import matplotlib
import numpy as np
from timing import faiss_simd_levels

import drqfaiss
from drqfaiss.datasets import METRIC_NAMES, Dataset

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogFormatter

# Colour and marker of each method, the same in both plots; the colours are Okabe and Ito's.
STYLES = [
    ("#d55e00", "o"),
    ("#0072b2", "s"),
    ("#009e73", "^"),
    ("#cc79a7", "D"),
    ("#7f7f7f", "v"),
    ("#e69f00", "P"),
    ("#56b4e9", "X"),
]
NOTES = """
- A DRQ row is a prefix of ONE code trained once; all other rows are trained separately for their length.
- Memory counts what a search needs per vector: the whole stored code (DRQ keeps its longest one) and the norm
  that L2 needs (DRQ caches a float32 per vector and per length in use, RQ stores a float32 in the code).
- R@k: share of the queries whose true nearest neighbour is among the first k results.
- Times are medians of several runs, searches of all rows in turns; each FAISS row is quoted at the SIMD level
  that is fastest for it, in brackets.
""".strip()


@dataclass
class Row:
    """One line of the table; search figures are filled in after all indexes are built."""

    method: str
    code_bytes: int
    memory_bytes: int
    train_s: float
    encode_us: float
    encode_simd: str | None
    recall: dict[int, float] = field(default_factory=dict)
    search_us: float = float("nan")
    search_simd: str | None = None

    @property
    def label(self) -> str:
        """Unique name of the row."""
        return f"{self.method} {self.code_bytes}"


def header(data: Dataset, options: dict) -> dict[str, str]:
    """Collect what a reader needs to judge a comparison."""
    return {
        **machine(data, options["seed"], f"{options['threads']} (training: all)"),
        "Timing": f"k = {options['k']}, median of {options['runs']} runs, "
        f"{'CPU' if options['threads'] == 1 else 'wall-clock'} time; RQ beam {options['rq_beam']}",
    }


def machine(data: Dataset, seed: int, threads: str) -> dict[str, str]:
    """Tell data, machine, versions and SIMD levels."""
    packages = " · ".join(f"{name} {version(name)}" for name in ("numpy", "faiss-cpu", "drqfaiss"))
    return {
        "Data": f"{data.name}: learn {len(data.learn):,}, base {len(data.base):,}, "
        f"queries {len(data.query):,}, "
        f"d = {data.d}, {METRIC_NAMES[data.metric]}, seed {seed}",
        "Machine": f"{_cpu_name()}, {os.cpu_count()} cores; threads: {threads}",
        "Versions": f"Python {platform.python_version()} · {packages}",
        "SIMD": f"drqfaiss {drqfaiss.simd_level()}; FAISS: best of {', '.join(faiss_simd_levels())}",
    }


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def markdown(about: dict[str, str], rows: list[Row]) -> str:
    """Lay out header, table and notes of a comparison."""
    ranks = list(rows[0].recall)
    columns = ["method", "code bytes", "bytes in memory", "training s", "encode µs/vector"]
    columns += [f"R@{k}" for k in ranks] + ["µs/query"]
    lines, shared = [], None
    for row in rows:
        training = (row.method, row.train_s)
        lines.append(
            [
                row.method,
                str(row.code_bytes),
                str(row.memory_bytes),
                "same" if training == shared else f"{row.train_s:.1f}",
                timed(row.encode_us, row.encode_simd),
                *(f"{row.recall[k]:.3f}" for k in ranks),
                timed(row.search_us, row.search_simd),
            ]
        )
        shared = training
    return page(about, columns, lines, NOTES)


def page(about: dict[str, str], columns: list[str], lines: list[list[str]], notes: str) -> str:
    """Lay out header, table and notes as Markdown."""
    table = [_cells(columns), "|---" + "|--:" * (len(columns) - 1) + "|", *map(_cells, lines)]
    return "\n".join([*(f"- {name}: {text}" for name, text in about.items()), "", *table, "", notes])


def _cells(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def timed(us: float, simd: str | None) -> str:
    """Write a time and, in brackets, the FAISS SIMD level that gave it."""
    figure = f"{us:.2f}" if us < 10 else f"{us:,.0f}"
    return figure if simd is None else f"{figure} [{simd}]"


def save(folder: Path, about: dict[str, str], rows: list[Row]) -> str:
    """Write results.md, results.json and the plots; return the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(about, rows)
    (folder / "results.md").write_text(text + "\n")
    figures = {"about": about, "rows": [asdict(row) for row in rows]}
    (folder / "results.json").write_text(json.dumps(figures, indent=1) + "\n")
    title = about["Data"].split(":")[0]
    plot_recall_bytes(folder / "recall-bytes.png", title, rows)
    plot_recall_speed(folder / "recall-speed.png", title, rows)
    return text


def _curves(rows: list[Row]) -> Iterator[tuple[dict[str, str], list[Row]]]:
    """Yield the style of a method and its rows, shortest code first."""
    groups = groupby(rows, key=lambda row: row.method)
    for i, (name, group) in enumerate(groups):
        colour, marker = STYLES[i % len(STYLES)]
        yield (
            {"color": colour, "marker": marker, "label": name},
            sorted(group, key=lambda row: row.code_bytes),
        )


def plot_recall_bytes(path: Path, title: str, rows: list[Row]) -> None:
    """Plot R@1, R@10 and R@100 over the length of the code."""
    ranks = list(rows[0].recall)
    figure, panels = plt.subplots(1, len(ranks), figsize=(4 * len(ranks), 3.8), layout="constrained")
    for panel, k in zip(panels, ranks, strict=True):
        for style, curve in _curves(rows):
            panel.plot([row.code_bytes for row in curve], [row.recall[k] for row in curve], **style)
        panel.set(
            title=f"recall@{k}", xlabel="bytes per code", xticks=sorted({row.code_bytes for row in rows})
        )
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def plot_recall_speed(path: Path, title: str, rows: list[Row]) -> None:
    """Plot recall over the time per query; up and to the left is better."""
    k = int(np.median(list(rows[0].recall)))
    figure, panel = plt.subplots(figsize=(7, 4.8), layout="constrained")
    for style, curve in _curves(rows):
        panel.plot([row.search_us for row in curve], [row.recall[k] for row in curve], **style)
        for row in curve:
            panel.annotate(
                f"{row.code_bytes} B",
                (row.search_us, row.recall[k]),
                (5, -10),
                textcoords="offset points",
                fontsize=8,
            )
    panel.set(xscale="log", xlabel="µs per query (log)", ylabel=f"recall@{k}", title=title)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    panel.tick_params(axis="x", which="minor", labelsize=8)
    panel.set_ylim(bottom=0)
    panel.grid(alpha=0.3, which="both")
    panel.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
