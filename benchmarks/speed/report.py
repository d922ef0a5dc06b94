"""What a speed run leaves behind: a Markdown table, a JSON file and a plot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import drqfaiss
from benchmarks.common import plots, report
from benchmarks.common.report import timed
from drqfaiss.datasets import Dataset

NOTES = """
- Times are medians of interleaved runs in µs, per query, vector or operation; each FAISS figure is quoted at
  the SIMD level that is fastest for it, in brackets. Ratio: the peer's time divided by ours.
- SIMD is our level. Targets are meant for AVX-512 VBMI (unless the case says AVX2), d = 128, N = 1,000,000.
- One thread, timed by its CPU time; training and the case with 2 threads are timed by the clock.
- Indexes hold trained codes of the data in random order. Where N exceeds the base, its vectors repeat, in
  ours and in RQ with a random last byte of code. RQ has our codebooks and codes, PQ its own.
- "reading the codes": NumPy's maximum of the code array as int64, one pass per query.
- Error: our mean squared reconstruction error divided by the peer's; a target then asks for at most 1, too.
""".strip()
COLOURS = {True: plots.YES, False: plots.NO, None: plots.GREY}
ROUNDING = 1e-4


@dataclass
class Line:
    """One of our times beside one peer's; ``target`` is the least ratio that was asked for."""

    group: str
    case: str
    simd: str
    us: float
    peer: str
    peer_us: float
    peer_simd: str | None
    target: float | None = None
    error: float | None = None

    @property
    def ratio(self) -> float:
        """How many times as fast as the peer we are."""
        return self.peer_us / self.us

    @property
    def met(self) -> bool | None:
        """Whether the target was reached; None without one."""
        if self.target is None:
            return None
        return self.ratio >= self.target and (self.error is None or self.error <= 1 + ROUNDING)


def header(data: Dataset, options: dict) -> dict[str, str]:
    """Collect what a reader needs to judge the figures."""
    return {
        **report.machine(data, options["seed"], "1 unless the case says otherwise (training: all)"),
        "Timing": f"median of {options['runs']} runs of {options['seconds']} s; N up to {options['n']:,}",
    }


def markdown(about: dict[str, str], lines: list[Line]) -> str:
    """Lay out header, table and notes."""
    columns = ["case", "SIMD", "ours", "compared with", "its time", "ratio", "target", "met", "error"]
    return report.page(about, columns, [_cells(line) for line in lines], NOTES)


def _cells(line: Line) -> list[str]:
    return [
        line.case,
        line.simd,
        timed(line.us, None),
        line.peer,
        timed(line.peer_us, line.peer_simd),
        f"{line.ratio:.2f}",
        "" if line.target is None else f"≥ {line.target:.2f}",
        {True: "yes", False: "no", None: ""}[line.met],
        "" if line.error is None else f"{line.error:.4f}",
    ]


def save(folder: Path, about: dict[str, str], lines: list[Line]) -> str:
    """Write speed-<SIMD level>.md, .json and .svg; return the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = _stem(folder)
    text = markdown(about, lines)
    stem.with_suffix(".md").write_text(text + "\n")
    figures = {
        "about": about,
        "lines": [{**asdict(line), "ratio": line.ratio, "met": line.met} for line in lines],
    }
    stem.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    plot(stem.with_suffix(".svg"), about, lines)
    return text


def _stem(folder: Path) -> Path:
    return folder / f"speed-{drqfaiss.simd_level()}"


def others(folder: Path, about: dict[str, str], groups: set[str]) -> list[Line]:
    """Read the lines of the last results that are of other groups than these; none without a file.

    Raises:
        ValueError: there are some, under a header that differs from ``about``: one table cannot hold both.
    """
    file = _stem(folder).with_suffix(".json")
    last = json.loads(file.read_text()) if file.exists() else {"about": {}, "lines": []}
    names = {field.name for field in fields(Line)}
    lines = [
        Line(**{name: line[name] for name in names}) for line in last["lines"] if line["group"] not in groups
    ]
    differing = [name for name in about if last["about"].get(name) != about[name]]
    if lines and differing:
        raise ValueError(f"{file} holds results of other groups of cases with other {', '.join(differing)}")
    return lines


def plot(path: Path, about: dict[str, str], lines: list[Line]) -> None:
    """Plot every ratio as a bar, on a log scale, and its target as a tick."""
    picture, panels = plots.figure(
        1,
        1,
        "Times as fast as the peer",
        f"{report.caption(about)}\nLog scale. A tick is a target: blue bars reach it, orange ones do not, "
        "grey ones have none.",
        panel=(9.5, 1 + 0.2 * len(lines)),
    )
    panel = panels[0, 0]
    places = range(len(lines), 0, -1)
    # Bars start at 1: to the right of it we are faster.
    widths = [line.ratio - 1 for line in lines]
    panel.barh(places, widths, left=1, color=[COLOURS[line.met] for line in lines], height=0.7)
    aimed = [(line.target, place) for line, place in zip(lines, places, strict=True) if line.target]
    panel.plot([target for target, _ in aimed], [place for _, place in aimed], "|", color=plots.INK, ms=10)
    panel.set_yticks(places, [f"{line.case} vs {line.peer}" for line in lines], size=8)
    panel.axvline(1, color=plots.INK, linewidth=0.8)
    panel.set(xscale="log")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.margins(y=0.01)
    panel.grid(visible=False, axis="y")
    plots.save(picture, path)
