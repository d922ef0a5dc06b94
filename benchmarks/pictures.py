"""Draws README's and the documentation's pictures from ``benchmarks/results``: ``make pictures``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.accuracy import report as accuracy_report
from benchmarks.common import plots
from benchmarks.common.plots import Curve
from benchmarks.embeddings import report as embeddings_report
from benchmarks.embeddings.report import NORMS
from benchmarks.ivf import report as ivf_report
from benchmarks.ivf.curves import JUDGED_K, Point, front
from benchmarks.ivf.methods import FAST_SCAN, IVF_PQ, IVF_RQ
from benchmarks.paper import report as paper_report
from benchmarks.paper.result import Result
from benchmarks.speed import report as speed_report
from benchmarks.speed.report import Line

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = ROOT / "docs" / "pictures"
DATA = {"sift": "SIFT", "minilm": "MiniLM"}
METRICS = {"l2": "L2", "ip": "IP"}
ONE_TRAINING = ("DRQ level own short", 16)  # the model whose prefixes are good at every length
DEFAULT_IVF = "DRQ8x8"
EMBEDDINGS = RESULTS / "embeddings"
SCALE = RESULTS / "scale"  # tables only
EMBEDDING_SETS = {"minilm": "MiniLM", "glosses": "USE", "photographs": "EfficientNet"}


def main() -> None:
    """Draw all of them."""
    recall_bytes(PICTURES / "recall-bytes.svg")
    recall_speed(PICTURES / "recall-speed.svg")
    levels(PICTURES / "levels.svg")
    embeddings(PICTURES / "embeddings.svg")
    for path in sorted(RESULTS.rglob("*.json")):
        tables_only = path.stem.endswith("-ablation") or path.stem.startswith(("tuning-", "plans-"))
        if not tables_only and path.parent not in (EMBEDDINGS, SCALE):
            redraw(path)


def read(name: str) -> dict[str, Any]:
    """Return the figures of a benchmark."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def redraw(path: Path) -> None:
    """Draw again what a benchmark draws of its own figures."""
    figures, picture = json.loads(path.read_text()), path.with_suffix(".svg")
    about = figures["about"]
    if "rows" in figures:
        accuracy_report.plot_recall_bytes(picture, about, accuracy_report.rows_of(figures))
    elif "points" in figures:
        ivf_report.plot(picture, about, points_of(figures))
    elif "results" in figures:
        paper_report.plot_results(picture, about, [Result(**result) for result in figures["results"]])
    else:
        lines = [{k: v for k, v in line.items() if k not in ("ratio", "met")} for line in figures["lines"]]
        speed_report.plot(picture, about, [Line(**line) for line in lines])


def points_of(figures: dict[str, Any]) -> list[Point]:
    """Return the points of an inverted-file benchmark."""
    return [
        Point(**{**point, "recall": {int(k): value for k, value in point["recall"].items()}})
        for point in figures["points"]
    ]


def recall_bytes(path: Path) -> None:
    """Draw recall over the bytes of a code: one DRQ training against one training per length."""
    results = [read(f"accuracy-{name}") for name in DATA]
    picture, panels = plots.figure(
        1,
        2,
        "One DRQ training serves every length; the others are trained for each",
        "Recall 1@10 over the bytes of a code. " + machine(results[0]["about"], threads=False),
    )
    for panel, result in zip(panels.flat, results, strict=True):
        named = accuracy_report.curves(accuracy_report.rows_of(result))
        curves = [
            length_curve("DRQ", named[f"{ONE_TRAINING[0]}"]),
            *(length_curve(name, named[name]) for name in ("RQ", "OPQ", "PQ")),
        ]
        plots.draw(panel, curves)
        panel.set(
            xticks=[2, 4, 8, 12, 16], ylim=(0, 1.02), title=data(result["about"]), xlabel="bytes per code"
        )
        plots.label(picture, panel, curves)
    panels[0, 0].set_ylabel("recall 1@10")
    plots.save(picture, path)


def length_curve(name: str, lengths: list[list[accuracy_report.Row]], first: int = 2) -> Curve:
    """Return recall 1@10 over code bytes, means of all seeds."""
    shown = [seeds for seeds in lengths if seeds[0].code_bytes >= first]
    recalls = [sum(row.recall[10] for row in seeds) / len(seeds) for seeds in shown]
    return Curve(name, [seeds[0].code_bytes for seeds in shown], recalls)


def recall_speed(path: Path) -> None:
    """Draw queries per second over recall of indexes with inverted lists, all of 8 bytes a code."""
    results = [read(f"ivf-{name}") for name in DATA]
    picture, panels = plots.figure(
        1,
        2,
        "Inverted lists, codes of 8 bytes: speed at equal recall",
        "Queries per second (log) over recall 1@10; up and right is better. " + machine(results[0]["about"]),
        sharey=True,
    )
    for panel, result in zip(panels.flat, results, strict=True):
        points = [point for point in points_of(result) if point.k == JUDGED_K]
        curves = [speed_curve(DEFAULT_IVF, [p for p in points if p.method == DEFAULT_IVF])]
        curves += [
            speed_curve(family, [p for p in points if p.family == family])
            for family in (FAST_SCAN, IVF_PQ, IVF_RQ)
        ]
        plots.draw(panel, curves)
        panel.set(yscale="log", title=data(result["about"]), xlabel="recall 1@10")
        plots.label(picture, panel, curves)
    plots.plain_numbers(panels[0, 0].yaxis)
    panels[0, 0].set_ylabel("queries per second")
    plots.save(picture, path)


def speed_curve(name: str, points: list[Point]) -> Curve:
    """Return queries per second over recall 1@10 of the searches that no other of the method beats."""
    best = front(points, JUDGED_K)
    return Curve(name, [point.recall[JUDGED_K] for point in best], [point.qps for point in best])


def levels(path: Path) -> None:
    """Draw what fewer levels of one index cost and save: recall, and time as a share of all levels'."""
    accuracy = read("accuracy-sift")
    lengths = accuracy_report.curves(accuracy_report.rows_of(accuracy))["DRQ level own"]
    speed = read("speed-avx2")
    share = {
        line["case"]: line["us"] / line["peer_us"]
        for line in speed["lines"]
        if line["peer"] == "all 8 levels" and "one query" not in line["case"]
    }
    picture, panels = plots.figure(
        1,
        2,
        "One index of 8 levels, searched with fewer",
        f"{data(accuracy['about'])}. {machine(speed['about'])}",
        panel=(3.6, 2.4),
    )
    plots.draw(panels[0, 0], [length_curve("DRQ", lengths)])
    panels[0, 0].set(xlabel="levels compared", title="recall 1@10", ylim=(0, 1.02), xticks=[2, 4, 6, 8])
    names = {case: case.removeprefix("4 of 8 levels, ") for case in share}
    places = range(len(share))
    panels[0, 1].barh(places, list(share.values()), color=plots.DRQ, height=0.6)
    panels[0, 1].set_yticks(places, list(names.values()), size=9)
    panels[0, 1].set(title="time of 4 levels, share of 8's", xlim=(0, 1))
    panels[0, 1].invert_yaxis()
    panels[0, 1].grid(visible=False, axis="y")
    for place, value in zip(places, share.values(), strict=True):
        panels[0, 1].text(value + 0.02, place, f"{value:.2f}", va="center", size=10)
    plots.save(picture, path)


def embeddings(path: Path) -> None:
    """Draw 10@10 of codes for embeddings: over their bytes, and over the time of a search."""
    results = {
        name: read(f"embeddings/{name}") for name in EMBEDDING_SETS if (EMBEDDINGS / f"{name}.json").exists()
    }
    if not results:
        return
    about = next(iter(results.values()))["about"]
    simd = re.search(r"drqfaiss (\w+)", about["SIMD"])[1]
    picture, panels = plots.figure(
        2,
        len(results),
        "Codes for embeddings: one DRQ training serves every length",
        "10@10, the share of the 10 nearest among the first 10 found, over bytes and over a query's time "
        f"in batches. {about['Machine'].split(',')[0]}, {simd}, 1 thread",
        sharey=True,
    )
    for name, (over_bytes, over_time) in zip(results, panels.T, strict=True):
        rows = [row for row in embeddings_report.rows_of(results[name]).values() if not row.oversampled]
        over_bytes.set(
            ylim=(0, 1.02),
            title=f"{EMBEDDING_SETS[name]}: {data(results[name]['about']).split(': ')[1]}",
            xlabel="bytes per code and norm",
        )
        over_time.set(xlabel="µs per query (log)", xscale="log")
        for panel, field in ((over_bytes, "taken_bytes"), (over_time, "batch_us")):
            curves = embedding_curves(rows, field)
            panel.set_visible(bool(curves))
            if curves:
                plots.draw(panel, curves)
                plots.label(picture, panel, curves)
        plots.plain_numbers(over_time.xaxis)
    for panel in panels[:, 0]:
        panel.set_ylabel("10@10")
    plots.save(picture, path)


def embedding_curves(rows: list[embeddings_report.Row], field: str) -> list[Curve]:
    """Return 10@10 over a figure of the rows, of the methods that have a curve of their own."""
    curves = []
    for name in ("DRQ", f"DRQ{NORMS}", "OPQ", "PQ", "PQ fast-scan", "RQ", "RaBitQ fast-scan"):
        # RaBitQ's lengths are methods of their own: "RaBitQ fast-scan, 2 bit".
        own = [row for row in rows if re.sub(r", \d bit$", "", row.name) == name]
        shown = sorted(
            (row for row in own if getattr(row, field) is not None), key=lambda row: row.code_bytes
        )
        if shown:
            x, y = [getattr(row, field) for row in shown], [row.found["10@10"] for row in shown]
            curves.append(Curve(name.replace("RaBitQ fast-scan", "RaBitQ"), x, y))
    return curves


def data(about: dict[str, str]) -> str:
    """Return a short name of the data: what, how many, dimensions, and the metric."""
    name, base, d, metric = re.search(r"^(\w+): .*base ([\d,]+),.* d = (\d+), (\w+)", about["Data"]).groups()
    return f"{DATA.get(name, name)}: {base}, {d}-d, {METRICS[metric]}"


def machine(about: dict[str, str], *, threads: bool = True) -> str:
    """Return a short name of the machine and of FAISS."""
    faiss = re.search(r"faiss-cpu ([\d.]+)", about["Versions"])[0]
    where = about["Machine"].split(",")[0]
    return f"{where}, AVX2, 1 thread, {faiss}" if threads else f"{where}, {faiss}"


if __name__ == "__main__":
    main()
