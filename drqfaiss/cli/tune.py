"""Find the fastest setting of an index's searches that reaches a recall.

Recall is k@k: the share of the k nearest neighbours that a search for k finds. It counts exact neighbours,
from a file (GROUNDTRUTH: ids, nearest first) or found in the base vectors; without either, what the most
thorough search of the index finds. A third of the queries choose, the others tell the recall, with bounds at
95 % confidence. The rows are the settings than which no other is faster and better. One thread searches
unless --threads says otherwise.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from drqfaiss._files import require_writable, writing
from drqfaiss._indexes.setting_file import file_beside
from drqfaiss._tuning.tune import tune
from drqfaiss._tuning.tuned import Tuned
from drqfaiss.cli import options as shared
from drqfaiss.cli.truth import add_truth, open_filled, read_queries, read_truth

PLOTS = (".svg", ".png", ".pdf")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``run`` reads."""
    parser.add_argument("index", help="index file")
    parser.add_argument("queries", help=shared.VECTORS_HELP)
    add_truth(parser, required=False)
    parser.add_argument(
        "-k", type=shared.positive, default=10, metavar="K", help="neighbours of a search (default: 10)"
    )
    parser.add_argument(
        "--recall", type=float, default=0.95, metavar="R", help="share to find (default: 0.95)"
    )
    parser.add_argument("--max-us", type=float, metavar="µS", help="most microseconds that a query may take")
    parser.add_argument(
        "--save", action="store_true", help="keep the setting beside the index, in INDEX.drq.json"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw recall over time: .svg, .png or .pdf")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Tune, keep the setting and draw what others are worth."""
    if options.save:
        require_writable(file_beside(options.index))
    if options.plot is not None:
        _require_plot(options.plot)
    index = open_filled(options.index)
    queries = read_queries(index, options)
    given = options.base is not None or options.groundtruth is not None
    tuned = tune(
        index,
        queries,
        k=options.k,
        recall=options.recall,
        neighbours=read_truth(index, queries, options, options.k) if given else None,
        max_us=options.max_us,
        threads=options.threads or 1,
        progress=not options.quiet,
    )
    plain = tuned.as_dict()
    front = plain.pop("front")
    setting = {name: value for name, value in plain.pop("setting").items() if value is not None}
    result = {"index": options.index, **setting, **plain}
    if options.save:
        result["saved"] = str(tuned.save(options.index))
    if options.plot is not None:
        _draw(tuned, options.plot)
        result["plot"] = options.plot
    shown = [name for name in front[0] if any(row[name] is not None for row in front)]
    return {**result, "rows": [{name: row[name] for name in shown} for row in front]}


def _require_plot(name: str) -> None:
    """Require, before the work, what a plot needs."""
    require_writable(name)
    if Path(name).suffix.lower() not in PLOTS:
        raise ValueError(f"{name}: got suffix {Path(name).suffix!r}, expected one of {', '.join(PLOTS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{name}: a plot needs matplotlib: pip install matplotlib") from error


def _draw(tuned: Tuned, name: str) -> None:
    """Draw the front: each recall at the least time that reaches it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    recalls = [point.recall for point in tuned.front]
    axes.step(recalls, [point.us_per_query for point in tuned.front], where="pre", color="#7f7f7f")
    axes.plot(recalls, [point.us_per_query for point in tuned.front], "o", color="#7f7f7f", markersize=4)
    for point in tuned.front:
        if point.setting == tuned.setting:
            axes.plot([point.recall], [point.us_per_query], "o", color="#d55e00", markersize=8)
            text = repr(tuned).split("\n")[0].replace(", ", "\n")
            axes.annotate(
                text,
                (point.recall, point.us_per_query),
                xytext=(-8, 8),
                textcoords="offset points",
                ha="right",
                color="#d55e00",
                fontsize=9,
            )
    axes.axvline(tuned.asked, color="#cfcfca", zorder=0)
    axes.set(xlabel=f"recall {tuned.k}@{tuned.k}", ylabel="µs a query", yscale="log")
    with writing(name) as file:
        figure.savefig(file, format=Path(name).suffix[1:].lower())
