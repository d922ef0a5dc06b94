"""`drqfaiss tune`: find the fastest setting of an index's searches that reaches a recall."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drqfaiss._files import require_writable, writing
from drqfaiss._indexes.setting_file import file_beside
from drqfaiss._tuning.tune import tune
from drqfaiss._tuning.tuned import Tuned
from drqfaiss.cli.options import Tune
from drqfaiss.cli.truth import open_filled, read_queries, read_truth

PLOTS = (".svg", ".png", ".pdf")


def run(name: str, queries_name: str, options: Tune) -> dict[str, Any]:
    """Tune, keep the setting and draw what others are worth."""
    options.truth.require_one(least=0)
    if options.save:
        require_writable(file_beside(name))
    if options.plot is not None:
        _require_plot(options.plot)
    index = open_filled(name)
    queries = read_queries(index, queries_name, options.normalize)
    truth = options.truth
    tuned = tune(
        index,
        queries,
        k=options.k,
        recall=options.recall,
        neighbours=read_truth(index, queries, truth, options.k, options.normalize) if truth.given else None,
        max_us=options.max_us,
        threads=options.threads or 1,
        single=options.single,
        progress=not options.quiet,
    )
    plain = tuned.as_dict()
    front = plain.pop("front")
    setting = {name: value for name, value in plain.pop("setting").items() if value is not None}
    result = {"index": name, **setting, **plain}
    if options.save:
        result["saved"] = str(tuned.save(name))
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
