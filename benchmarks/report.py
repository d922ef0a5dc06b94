"""What a comparison leaves behind: a Markdown table, a JSON file and plots."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import cycle
from operator import attrgetter
from pathlib import Path

import matplotlib
import numpy as np

import drqfaiss
from drqfaiss.datasets import METRIC_NAMES, Dataset
from drqfaiss.timing import faiss_simd_levels

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogFormatter

# Colour and marker of each method, the same in both plots; the colours are Okabe and Ito's.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#7f7f7f", "#e69f00")
STYLES = [
    {"color": colour, "marker": marker, "ls": line}
    for line, markers in (("-", "os^DvP"), ("--", "sDvPo^"))
    for colour, marker in zip(COLOURS, markers, strict=True)
]
NOTES = """
- A DRQ row is a prefix of ONE code trained once; all other rows are trained separately for their length.
- Memory counts what a search needs per vector: the whole stored code (DRQ keeps its longest one) and the norm
  that L2 needs (DRQ caches a float32 per vector and length in use, RQ and LSQ store a float32 in the code).
- Parameters: the floats that training learns, codebooks, scales and rotations (DRQ's of the whole model).
- Training is CPU time, all threads added up. Encoding and search times are medians of several runs, searches
  of all rows in turns; each FAISS row is quoted at the SIMD level that is fastest for it, in brackets.
- Error: mean squared reconstruction error of base vectors, as a share of their variance.
- R@k: share of the queries whose true nearest neighbour is among the first k results.
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
        **machine(data, options["seed"], f"{options['threads']} (training: all)"),
        "Timing": f"k = {options['k']}, median of {options['runs']} runs, "
        f"{'CPU' if options['threads'] == 1 else 'wall-clock'} time",
    }


def machine(data: Dataset, seed: int, threads: str) -> dict[str, str]:
    """Tell data, machine, versions and SIMD levels."""
    packages = " · ".join(f"{name} {version(name)}" for name in ("numpy", "faiss-cpu", "drqfaiss"))
    return {
        "Data": f"{data.name}: learn {len(data.learn):,}, base {len(data.base):,}, "
        f"queries {len(data.query):,}, "
        f"d = {data.d}, {METRIC_NAMES[data.metric]}, seed {seed}",
        "Machine": f"{cpu_name()}, {os.cpu_count()} cores; threads: {threads}",
        "Versions": f"Python {platform.python_version()} · {packages}",
        "SIMD": f"drqfaiss {drqfaiss.simd_level()}; FAISS: best of {', '.join(faiss_simd_levels())}",
    }


def cpu_name() -> str:
    """Return what the processor calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def markdown(about: dict[str, str], rows: list[Row]) -> str:
    """Lay out header, table and notes of a comparison."""
    ranks = list(rows[0].recall)
    columns = ["method", "code bytes", "bytes in memory", "parameters", "training s", "encode µs/vector"]
    timings = any(row.search_us is not None for row in rows)
    columns += ["error", *(f"R@{k}" for k in ranks), *["µs/query"] * timings]
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
                    timed(encoding.encode_us, encoding.encode_simd),
                    "" if row.error is None else spread([row.error for row in seeds]),
                    *(spread([row.recall[k] for row in seeds]) for k in ranks),
                    *["" if row.search_us is None else timed(row.search_us, row.search_simd)] * timings,
                ]
            )
            shared = training
    return page(about, columns, lines, NOTES)


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


def read(folder: Path) -> list[Row]:
    """Read the rows that `write_figures` left in a folder; none without a file."""
    file = folder / FIGURES
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    return [Row(**{**row, "recall": {int(k): value for k, value in row["recall"].items()}}) for row in rows]


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
    title = about["Data"].split(":")[0]
    plot_recall_bytes(folder / "recall-bytes.png", title, rows)
    if all(row.search_us is not None for row in rows):
        plot_recall_speed(folder / "recall-speed.png", title, rows)
    return text


def _styled(rows: list[Row]) -> Iterator[tuple[dict[str, str], list[list[Row]]]]:
    """Yield the style of a method and its rows by code length, the same in both plots."""
    for (name, curve), style in zip(curves(rows).items(), cycle(STYLES), strict=False):
        yield {**style, "label": name}, curve


def plot_recall_bytes(path: Path, title: str, rows: list[Row]) -> None:
    """Plot R@1, R@10, R@100 and the error over the length of the code."""
    values = {f"recall@{k}": lambda row, k=k: row.recall[k] for k in rows[0].recall}
    values["reconstruction error"] = lambda row: np.nan if row.error is None else row.error
    figure, panels = plt.subplots(1, len(values), figsize=(4 * len(values), 4.2), layout="constrained")
    for panel, (name, value) in zip(panels, values.items(), strict=True):
        for style, curve in _styled(rows):
            lengths = [seeds[0].code_bytes for seeds in curve]
            panel.plot(lengths, [np.mean([value(row) for row in seeds]) for seeds in curve], **style)
        panel.set(title=name, xlabel="bytes per code", xticks=sorted({row.code_bytes for row in rows}))
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_recall_speed(path: Path, title: str, rows: list[Row]) -> None:
    """Plot recall over the time per query; up and to the left is better."""
    k = int(np.median(list(rows[0].recall)))
    figure, panel = plt.subplots(figsize=(7, 4.8), layout="constrained")
    for style, curve in _styled(rows):
        firsts = [seeds[0] for seeds in curve]
        panel.plot([row.search_us for row in firsts], [row.recall[k] for row in firsts], **style)
        for row in firsts:
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
