"""What the paper's experiments leave behind: Markdown tables, JSON figures and plots."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import report
from paper_methods import Result, Vectors
from paper_tasks import Task

from drqfaiss import Quantizer
from drqfaiss.evaluation import codebook_parameters

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TSNE_BITS = 32
NOTES = """
- mAP@R as in the paper: the base ranked by the inner product of the query's float feature and the
  reconstructions.
- DRQ: every length is a prefix of the codes of one training. Peers are trained for each length, on the same
  vectors; RQ with beam 16. ITQ ranks by Hamming distance. Float features take 32 bits per dimension.
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
        "Network": f"{backbone}, {parameters:,} parameters; word vectors: {words}",
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


def plot_results(path: Path, task: Task, results: list[Result]) -> None:
    """Plot mAP over the length, and both precision curves at the longest length."""
    figure, panels = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
    longest = max(task.code_bits)
    figures: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        figures.setdefault((result.method, result.features), []).append(result)
    for (row, lengths), style in zip(figures.items(), cycle(report.STYLES)):
        label = " ".join(part for part in row if part)
        bits = [result.bits or longest for result in lengths]
        panels[0].plot(bits, [result.mean_ap for result in lengths], **style, label=label)
        last = max(lengths, key=lambda result: result.bits)
        line = {**style, "marker": None}
        panels[1].plot(last.pr_recall, last.pr_precision, **line)
        panels[2].plot(last.ranks, last.precision, **line)
    for (name, values), style in zip(task.published.items(), ("k--", "k:", "k-."), strict=False):
        panels[0].plot(task.code_bits, values, style, lw=1, label=f"{name} (published)")
    panels[0].set(xlabel="bits", ylabel=f"mAP@{task.rank}", xticks=task.code_bits)
    panels[1].set(xlabel="recall", ylabel="precision", title=f"{longest} bits and float")
    panels[2].set(
        xlabel="rank R (log)", ylabel="precision@R", xscale="log", title=f"{longest} bits and float"
    )
    for panel in panels:
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.suptitle(task.title)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def plot_training(path: Path, title: str, lines: list[dict[str, Any]]) -> None:
    """Plot the losses and the mAP of a sample over the time of training."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    steps = [line for line in lines if "loss" in line]
    for name in ("adaptive_margin", "triplet", "distortion", "joint_central"):
        logged = [line for line in steps if name in line]
        panels[0].plot([line["seconds"] / 60 for line in logged], [line[name] for line in logged], label=name)
    samples = [line for line in lines if "sample_map" in line]
    panels[1].plot([line["seconds"] / 60 for line in samples], [line["sample_map"] for line in samples], "o-")
    panels[0].set(xlabel="minutes", ylabel="loss, weighted", yscale="log")
    panels[1].set(xlabel="minutes", ylabel="mAP of float features, on a sample")
    panels[0].legend()
    for panel in panels:
        panel.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=130)
    plt.close(figure)


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
    figure, panel = plt.subplots(figsize=(6, 6), layout="constrained")
    panel.scatter(*plane.T, c=colours, cmap="tab10" if task.classes <= 10 else "nipy_spectral", s=3)
    panel.set(
        title=f"{task.title}: {len(plane):,} vectors, {levels * task.level_bits} bits", xticks=[], yticks=[]
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)
