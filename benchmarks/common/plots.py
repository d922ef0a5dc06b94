"""How pictures look: a method has one colour everywhere, and labels stand beside the curves, not on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Okabe and Ito's colours, which the colour-blind tell apart. DRQ's is kept for DRQ.
DRQ = "#d55e00"
COLOURS = {
    "fast-scan": "#cc79a7",
    "DRQ": DRQ,
    "OPQ": "#56b4e9",
    "PQ": "#0072b2",
    "RQ": "#009e73",
    "LSQ": "#e69f00",
}
MARKERS = {"fast-scan": "P", "DRQ": "o", "OPQ": "D", "PQ": "s", "RQ": "^", "LSQ": "v"}
GREY = "#7f7f7f"  # every other method
FAINT = "#cfcfca"  # what a panel is not about
INK = "#303030"
# Pictures bring their own light ground, so that they can be read on a dark page, too.
GROUND = "#fcfcfa"
YES, NO = "#0072b2", DRQ  # whether a target was reached; grey where there was none
MOST_CURVES = 6  # with a colour and a label in one panel

plt.rcParams.update(
    {
        "figure.facecolor": GROUND,
        "axes.facecolor": GROUND,
        "savefig.facecolor": GROUND,
        "font.size": 11,
        "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": GREY,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": "#e6e6e2",
        "lines.markersize": 5,
        # Letters stay letters, and the same figures give the same file.
        "svg.fonttype": "none",
        "svg.hashsalt": "drqfaiss",
    }
)


@dataclass(frozen=True)
class Curve:
    """What is measured of one method.

    Attributes:
        name: what the label says; its colour follows from the method that is named in it.
        x: places.
        y: values, as many.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]

    @property
    def style(self) -> dict[str, Any]:
        """How matplotlib draws it."""
        method = method_of(self.name)
        return {
            "color": COLOURS.get(method, GREY),
            "marker": MARKERS.get(method, "h"),
            "linewidth": 2.6 if method == "DRQ" else 1.5,
            "zorder": 4 if method == "DRQ" else 3,
        }


def method_of(name: str) -> str:
    """Return the method that a name is about; "" if it has no colour of its own."""
    # A DRQ row may name a peer in its remarks; OPQ contains PQ.
    return next((method for method in COLOURS if method in name.replace("IVF-", "").replace("IVF", "")), "")


def figure(
    rows: int,
    columns: int,
    title: str,
    about: str,
    *,
    panel: tuple[float, float] = (3.6, 2.7),
    **options: Any,
) -> tuple[plt.Figure, np.ndarray]:
    """Return a figure and its panels, (rows, columns).

    Args:
        rows: of panels.
        columns: of panels.
        title: what is measured.
        about: on which data and machine, in small letters below the title.
        panel: width and height of one, in inches.
        options: of ``plt.subplots``.
    """
    width, height = columns * panel[0], rows * panel[1]
    head = 0.7
    picture, panels = plt.subplots(
        rows, columns, figsize=(width, height + head), squeeze=False, layout="constrained", **options
    )
    picture.get_layout_engine().set(rect=(0, 0, 1, height / (height + head)), w_pad=0.08, hspace=0.06)
    for text, down, style in ((title, 0.08, {"size": 12.5, "weight": "bold"}), (about, 0.36, {"size": 9})):
        picture.text(0.1 / width, 1 - down / (height + head), text, va="top", **style)
    return picture, panels


def draw(
    panel: plt.Axes, curves: Sequence[Curve], faint: Sequence[Curve] = (), *, markers: bool = True
) -> None:
    """Draw curves in their colours, others in grey behind them."""
    # One broken line for all of them keeps files small.
    x = [place for curve in faint for place in (*curve.x, np.nan)]
    y = [value for curve in faint for value in (*curve.y, np.nan)]
    panel.plot(x, y, color=FAINT, linewidth=1, zorder=2)
    for curve in curves:
        panel.plot(curve.x, curve.y, **{**curve.style, **({} if markers else {"marker": None})})


def label(
    picture: plt.Figure,
    panel: plt.Axes,
    curves: Sequence[Curve],
    *,
    colours: Sequence[str] | None = None,
    size: float = 10,
) -> None:
    """Name curves to the right of the panel, at the height of their ends; call it when the axes are final.

    Args:
        picture: the panel's.
        panel: where the curves were drawn.
        curves: at most ``MOST_CURVES`` can be told apart.
        colours: of the curves; None: those of their methods.
        size: of the letters, in points.
    """
    picture.draw_without_rendering()
    ends = [(float(curve.x[-1]), float(curve.y[-1])) for curve in curves]
    to_axes = panel.transData + panel.transAxes.inverted()
    places = to_axes.transform(ends)
    gap = 1.3 * size / 72 * picture.dpi / panel.bbox.height
    colours = colours or [curve.style["color"] for curve in curves]
    wanted, order = places[:, 1].copy(), np.argsort(-places[:, 1], kind="stable")
    wanted[order] = np.minimum(wanted[order], 1 - gap * np.arange(len(order)))  # below the title
    heights = spread(wanted, gap)
    for curve, colour, (x, y), height in zip(curves, colours, places, heights, strict=False):
        axes = {"transform": panel.transAxes, "color": darker(colour)}
        panel.plot([x, 1, 1.03], [y, height, height], **axes, lw=0.6, alpha=0.6, clip_on=False)
        weight = "bold" if method_of(curve.name) == "DRQ" else "normal"
        panel.text(1.05, height, curve.name, **axes, va="center", size=size, weight=weight)


def spread(wanted: Sequence[float], gap: float) -> np.ndarray:
    """Return positions in the order of the wanted ones, ``gap`` apart at least, else as near as can be."""
    order = np.argsort(wanted, kind="stable")
    clusters: list[tuple[float, int]] = []  # centre and size of runs that touch
    for place in np.asarray(wanted)[order]:
        clusters.append((float(place), 1))
        while len(clusters) > 1:
            (low, before), (high, after) = clusters[-2:]
            if high - low >= gap * (before + after) / 2:
                break
            clusters[-2:] = [((low * before + high * after) / (before + after), before + after)]
    placed = [centre + gap * (i - (size - 1) / 2) for centre, size in clusters for i in range(size)]
    result = np.empty(len(placed))
    result[order] = placed
    return result


def darker(colour: str) -> str:
    """Return a shade of a colour in which small letters can be read."""
    return matplotlib.colors.to_hex(0.72 * np.array(matplotlib.colors.to_rgb(colour)))


def compare(curves: Sequence[Curve], title: str, about: str, **axes: Any) -> plt.Figure:
    """Draw few curves into one panel with labels, many into a panel each; ``axes``: settings of panels."""
    if len(curves) > MOST_CURVES:
        return small_multiples(curves, title, about, **axes)
    picture, panels = figure(1, 1, title, about, panel=(6.4, 3.8))
    panel = panels[0, 0]
    draw(panel, curves)
    panel.set(**axes)
    label(picture, panel, curves)
    return picture


def small_multiples(
    curves: Sequence[Curve], title: str, about: str, *, columns: int = 4, **axes: Any
) -> plt.Figure:
    """Draw a panel for every curve, the others in grey behind it; ``axes`` are settings of all panels."""
    columns = min(columns, len(curves))
    rows = -(-len(curves) // columns)
    picture, panels = figure(rows, columns, title, about, panel=(2.4, 1.9), sharex=True, sharey=True)
    for panel, curve in zip(panels.flat, curves, strict=False):
        draw(panel, [curve], [other for other in curves if other is not curve])
        panel.set_title(curve.name, size=9, color=darker(curve.style["color"]))
        panel.set(**{name: value for name, value in axes.items() if not name.endswith("label")})
        panel.tick_params(labelsize=8)
    for i in range(len(curves), panels.size):
        panels.flat[i].set_visible(False)
        panels.flat[i - columns].tick_params(labelbottom=True)
    picture.supxlabel(axes.get("xlabel", ""), size=9)
    picture.supylabel(axes.get("ylabel", ""), size=9)
    return picture


def plain_numbers(axis: matplotlib.axis.Axis) -> None:
    """Write 10,000 instead of a power on a logarithmic axis, and no more than the powers."""
    axis.set_major_formatter("{x:,.0f}")
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def save(picture: plt.Figure, path: Path) -> None:
    """Write a picture, the same bytes for the same figures, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    picture.savefig(path, dpi=120, metadata=metadata)
    plt.close(picture)
