"""What a comparison of inverted-file indexes leaves behind: two tables, all figures as JSON, the curves."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import product
from pathlib import Path

from benchmarks.common import plots, report
from benchmarks.common.plots import Curve
from benchmarks.ivf.curves import JUDGED_K, Check, Point, checks, fastest, front
from drqfaiss.datasets import Dataset

RANKS = (1, 10, 100)
RECALLS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
NOTES = """
- Queries per second at recall 1@10 of at least so much: the fastest search for 10 results that attains it.
- 1@k: share of the queries whose true nearest neighbour is among the first k results. 1@1 and 1@10 are those
  of a search for 10 results, 1@100 of one for 100, which is plotted with its own speed.
- Bytes per vector: all that the filled index holds more than the empty one (codes, ids, norms, RFlat's
  vectors, HNSW's links), and the float32 norm that DRQ caches for L2, for one code length. Product quantizers
  whose code has 4 bytes more spend on it what DRQ spends on that norm.
- All inverted-file indexes have the same coarse centroids. DRQ is searched at several code lengths (levels);
  the index of half the levels is only there to be compared with half of a longer code.
- Times are medians of interleaved runs, all indexes in turns; each search is quoted at the FAISS SIMD level
  that is fastest for it, ours too. One thread is timed by its CPU time, several by the clock.
""".strip()
CHECK_NOTES = """
- Each figure is followed by where it was found: the peer's 1@10, at every point of its front, or nprobe.
  0: none of our searches attains that recall. A target is to be reached everywhere: the least figure decides.
""".strip()


def header(data: Dataset, options: dict) -> dict[str, str]:
    """Collect what a reader needs to judge the figures."""
    threads = " and ".join(map(str, options["threads"]))
    return {
        **report.machine(data, options["seed"], f"{threads} (building: all)"),
        "Timing": f"median of {options['runs']} runs of {options['seconds']} s, "
        f"{options['batch'] or 'all'} queries per call",
        "Index": f"{options['nlist']} lists, codes of {options['bytes']} bytes",
    }


def save(
    folder: Path,
    data: Dataset,
    options: dict,
    sizes: dict[str, float],
    points: list[Point],
) -> str:
    """Write ivf-<data>[-batch<n>].md, .json and .svg; return the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    calls = f"-batch{options['batch']}" if options["batch"] else ""
    stem = folder / f"ivf-{data.name}{calls}"
    about, checked = header(data, options), checks(points)
    text = markdown(about, sizes, points, checked)
    stem.with_suffix(".md").write_text(text + "\n")
    figures = {
        "about": about,
        "bytes_per_vector": sizes,
        "points": [asdict(point) for point in points],
        "checks": [{**asdict(check), "least": check.least, "met": check.met} for check in checked],
    }
    stem.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    plot(stem.with_suffix(".svg"), about, points)
    return text


def markdown(
    about: dict[str, str],
    sizes: dict[str, float],
    points: list[Point],
    checked: list[Check],
) -> str:
    """Lay out header, speeds at equal recall, and targets."""
    columns = ["method", "threads", "bytes/vector", *(f"max 1@{rank}" for rank in RANKS)]
    columns += [f"at 1@10 ≥ {recall}" for recall in RECALLS]
    threads = sorted({point.threads for point in points})
    lines = [_speeds(name, n, sizes[name], points) for n, name in product(threads, sizes)]
    targets = ["figure", "threads", "everywhere", "least", "target", "met"]
    return "\n\n".join(
        [
            report.page(about, columns, lines, NOTES),
            report.page({}, targets, [_check(check) for check in checked], CHECK_NOTES),
        ]
    )


def _speeds(method: str, threads: int, size: float, points: list[Point]) -> list[str]:
    own = [point for point in points if (point.method, point.threads) == (method, threads)]
    judged = [point for point in own if point.k == JUDGED_K]
    best = [fastest(judged, recall) for recall in RECALLS]
    return [
        method,
        str(threads),
        f"{size:.1f}",
        *(f"{max(point.recall.get(rank, 0) for point in own):.3f}" for rank in RANKS),
        *("" if point is None else f"{point.qps:,.0f}" for point in best),
    ]


def _check(check: Check) -> list[str]:
    return [
        check.title,
        str(check.threads),
        ", ".join(f"{figure:.2f} ({place})" for place, figure in check.figures.items()),
        f"{check.least:.2f}",
        "" if check.target is None else f"≥ {check.target:g}",
        {True: "yes", False: "no", None: ""}[check.met],
    ]


def plot(path: Path, about: dict[str, str], points: list[Point]) -> None:
    """Plot every competitor's front, queries per second over recall; up and right is best."""
    points = [point for point in points if point.k == JUDGED_K]
    threads = sorted({point.threads for point in points})
    drawn = []
    for n, family in product(threads, dict.fromkeys(point.family for point in points)):
        curve = front((p for p in points if (p.family, p.threads) == (family, n)), JUDGED_K)
        name = family if len(threads) == 1 else f"{family}, threads: {n}"
        drawn.append(Curve(name, [p.recall[JUDGED_K] for p in curve], [p.qps for p in curve]))
    picture = plots.small_multiples(
        drawn,
        f"Queries per second over recall 1@{JUDGED_K}, inverted lists",
        report.caption(about),
        xlabel=f"recall 1@{JUDGED_K}",
        ylabel="queries per second (log)",
        yscale="log",
    )
    plots.plain_numbers(picture.axes[0].yaxis)
    plots.save(picture, path)
