"""What every benchmark leaves behind: on which data and machine it ran, a table, a caption for plots."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import drqfaiss
from drqfaiss.cli.timing import faiss_simd_levels
from drqfaiss.datasets import METRIC_NAMES, Dataset


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


def caption(about: dict[str, str]) -> str:
    """Return data and machine on one line."""
    return f"{about['Data']} · {about['Machine'].split(';')[0]}"
