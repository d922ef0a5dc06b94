"""What the paper's experiments leave behind: Markdown tables, JSON figures and plots."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.common import plots, report
from benchmarks.common.plots import Curve
from benchmarks.paper.precision import codebook_parameters
from benchmarks.paper.result import Result
from drqfaiss import Quantizer

if TYPE_CHECKING:  # these need PyTorch, tables and plots do not
    from benchmarks.paper.methods import Vectors
    from benchmarks.paper.tasks import Task

TSNE_BITS = 32
NAMED = ("DRQ", "PQ", "OPQ", "RQ", "LSQ", "float vectors")  # in plots
NOTES = """
- mAP@R as in the paper: the base ranked by the inner product of the query's float feature and the
  reconstructions.
- DRQ: every length is a prefix of the codes of one training. Peers are trained for each length, on the same
  vectors; RQ with beam 16. ITQ ranks by Hamming distance. Float features take 32 bits per dimension.
- DRQ, polished: fitted once more to the features by least squares; own first: fitted to them by that alone,
  the first level with a codebook of its own. Every length counts alike in both.
- "learned": features of the trained network; "raw": embeddings as they came; "published": figures of the
  paper, with an AlexNet that was pre-trained on ImageNet, not the network here.
""".strip()


def about(task: Task, options: Any, seconds: float, parameters: int) -> dict[str, str]:
    """Collect what a reader needs to judge the figures."""
    packages = " · ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "faiss-cpu", "drqfaiss"))
    backbone = "MLP on embeddings" if task.embeddings else backbone_name(options)
    words = "orthogonal ones" if task.word_vectors is None else f"{task.word_vectors.shape[1]}-d"
    return {
        "Task": f"{task.title}: training {len(task.train):,}, base {len(task.base):,}, "
        f"queries {len(task.query):,}, {task.classes} classes, mAP@{task.rank}, seed {options.seed}",
        "Network": f"{backbone}, {parameters:,} parameters; {options.head} head; word vectors: {words}",
        "Training": f"epochs {options.epochs}, batch {options.batch_size}, {seconds / 60:.1f} minutes "
        f"on {options.device}, {options.threads} threads",
        "Codes": f"{task.levels} levels of {task.level_bits} bits",
        "Machine": f"{report.cpu_name()}, {os.cpu_count()} cores",
        "Versions": f"Python {platform.python_version()} · {packages}",
    }


def backbone_name(options: Any) -> str:
    """Describe the network of images."""
    if options.backbone == "alexnet":
        return "AlexNet from random weights"
    if options.backbone == "convnet":
        return f"6 convolutions, width {options.width}, from random weights"
    if options.backbone == "efficientnet-lite0":
        return f"EfficientNet-Lite0 at {options.input_size} pixels, pre-trained on ImageNet"
    pooled = ", first layer pooled" if options.first_pool else ""
    return f"ResNet of 9 layers, width {options.width}{pooled}, from random weights"


def tables(header: dict[str, str], task: Task, results: list[Result], d: int) -> str:
    """Lay out the mAP table and the parameter counts."""
    columns = ["method", "features", *(f"{bits} bits" for bits in task.code_bits), "float"]
    lines = [[*row, *cells] for row, cells in rows(task, results)]
    lines += [
        [f"{name} (published)", "", *(f"{value:.3f}" for value in values), ""]
        for name, values in task.published.items()
    ]
    return report.page(header, columns, lines, NOTES) + "\n\n" + parameter_table(task, d)


def rows(task: Task, results: list[Result]) -> Iterable[tuple[tuple[str, str], list[str]]]:
    """Yield (method, features) and the cells of its lengths, in order of first appearance."""
    figures: dict[tuple[str, str], dict[int, float]] = {}
    for result in results:
        figures.setdefault((result.method, result.features), {})[result.bits] = result.mean_ap
    for row, values in figures.items():
        yield row, [f"{values[bits]:.3f}" if bits in values else "" for bits in [*task.code_bits, 0]]


def parameter_table(task: Task, d: int) -> str:
    """Lay out how many numbers the codebooks hold, as the paper's table 4 does."""
    lines = []
    for method in ("PQ", "OPQ", "AQ", "DRQ"):
        counts = [
            codebook_parameters(method, d, bits // task.level_bits, task.level_bits)
            for bits in task.code_bits
        ]
        note = " (all lengths at once)" if method == "DRQ" else ""
        lines.append([method + note, *(f"{count:,}" for count in counts)])
    columns = [f"codebook parameters, d = {d}", *(f"{bits} bits" for bits in task.code_bits)]
    return report.page({}, columns, lines, "").strip()


def ablation_table(header: dict[str, str], task: Task, results: list[Result]) -> str:
    """Lay out mAP of every variant of the training."""
    columns = ["variant", *(f"{bits} bits" for bits in task.code_bits)]
    lines = [[method, *cells[:-1]] for (method, _), cells in rows(task, results)]
    return report.page(
        header, columns, lines, "Every row is a training of its own; each length is a prefix of its codes."
    )


def save(folder: Path, name: str, header: dict[str, str], text: str, results: list[Result]) -> None:
    """Write the tables and all figures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text + "\n")
    figures = {"about": header, "results": [asdict(result) for result in results]}
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")


def plot_results(path: Path, header: dict[str, str], results: list[Result]) -> None:
    """Plot mAP over the length, and both precision curves at the longest length.

    Quantizers of the learned features are named, all others are grey.
    """
    longest = max(result.bits for result in results)
    figures: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        figures.setdefault((result.method, result.features), []).append(result)
    named = [row for row in figures if row[1] == "learned" and row[0] in NAMED]
    grey = [row for row in figures if row not in named]
    task, rank = header["Task"].split(":")[0], re.search(r"mAP@(\d+)", header["Task"])[1]
    picture, panels = plots.figure(
        1,
        3,
        f"{task}: codes of learned features",
        f"Precision of {longest} bits. Grey: {'; '.join(' '.join(row) for row in grey)}.",
        panel=(3.4, 2.9),
    )

    def curves(rows: list[tuple[str, str]], x: str, y: str) -> list[Curve]:
        last = {row: max(figures[row], key=lambda result: result.bits) for row in rows}
        return [Curve(row[0], getattr(last[row], x), getattr(last[row], y)) for row in rows]

    def over_bits(rows: list[tuple[str, str]]) -> list[Curve]:
        # Float vectors have no length: a mark at the longest one.
        return [
            Curve(row[0], [r.bits or longest for r in figures[row]], [r.mean_ap for r in figures[row]])
            for row in rows
        ]

    plots.draw(panels[0, 0], over_bits(named), over_bits(grey))
    for panel, x, y in ((panels[0, 1], "pr_recall", "pr_precision"), (panels[0, 2], "ranks", "precision")):
        plots.draw(panel, curves(named, x, y), curves(grey, x, y), markers=False)
    panels[0, 0].set(xlabel="bits", title=f"mAP@{rank}", xticks=sorted({r.bits for r in results if r.bits}))
    panels[0, 1].set(xlabel="recall", title="precision")
    panels[0, 2].set(xlabel="R (log)", title="precision@R", xscale="log")
    plots.plain_numbers(panels[0, 2].xaxis)
    plots.label(picture, panels[0, 2], curves(named, "ranks", "precision"))
    plots.save(picture, path)


def plot_training(path: Path, title: str, lines: list[dict[str, Any]]) -> None:
    """Plot the losses and the mAP of a sample over the time of training."""
    picture, panels = plots.figure(
        1, 2, f"{title}: training", "The loss is weighted, on a log scale.", panel=(4.4, 3)
    )
    steps = [line for line in lines if "loss" in line]
    losses = []
    for name in ("adaptive_margin", "triplet", "distortion", "joint_central"):
        logged = [line for line in steps if name in line]
        if logged:
            minutes = [line["seconds"] / 60 for line in logged]
            losses.append(Curve(name.replace("_", " "), minutes, [line[name] for line in logged]))
    for curve, colour in zip(losses, plots.COLOURS.values(), strict=False):
        panels[0, 0].plot(curve.x, curve.y, color=colour, lw=1)
    samples = [line for line in lines if "sample_map" in line]
    minutes = [line["seconds"] / 60 for line in samples]
    panels[0, 1].plot(minutes, [line["sample_map"] for line in samples], "o-", color=plots.DRQ)
    panels[0, 0].set(xlabel="minutes", title="loss", yscale="log")
    panels[0, 1].set(xlabel="minutes", title="mAP of float features, on a sample")
    if losses:
        plots.label(picture, panels[0, 0], losses, colours=list(plots.COLOURS.values()))
    plots.save(picture, path)


def plot_tsne(path: Path, task: Task, quantizer: Quantizer, learned: Vectors, count: int) -> None:
    """Plot quantized features of base vectors in the plane, coloured by class."""
    from sklearn.manifold import TSNE

    levels = min(TSNE_BITS // task.level_bits, quantizer.levels)
    features = learned.base[:count]
    quantized = quantizer.decode(quantizer.encode(features), levels)
    # Vectors with equal codes fall together, which t-SNE would divide by: a trace of noise keeps them apart.
    noise = np.random.default_rng(0).normal(size=quantized.shape).astype(np.float32)
    plane = TSNE(init="pca", random_state=0).fit_transform(quantized + 1e-3 * quantized.std() * noise)
    labels = task.base.labels[:count]
    colours = labels if labels.ndim == 1 else labels.argmax(1)
    picture, panels = plots.figure(
        1,
        1,
        f"{task.title}: t-SNE of quantized features",
        f"{len(plane):,} vectors, {levels * task.level_bits} bits; a colour is a class",
        panel=(5.5, 5.5),
    )
    panels[0, 0].scatter(*plane.T, c=colours, cmap="tab10" if task.classes <= 10 else "nipy_spectral", s=3)
    panels[0, 0].set(xticks=[], yticks=[])
    plots.save(picture, path)
