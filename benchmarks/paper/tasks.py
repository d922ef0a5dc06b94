"""The experiments of the paper: data, splits, code lengths and published figures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from drqfaiss.supervised.images import Images, crop_and_flip, read_cifar10, read_lists
from drqfaiss.supervised.labels import read_word_vectors

LISTS = ("database.txt", "test.txt", "train.txt")


@dataclass
class Part:
    """Inputs of a network and their labels."""

    inputs: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)

    def first(self, count: int) -> Part:
        """Return the first samples."""
        return Part(self.inputs[:count], self.labels[:count])


@dataclass
class Task:
    """What to train on, what to search, and how it is counted.

    Attributes:
        title: For tables and plots.
        train, base, query: The three parts; base in random order, because equal codes rank by position.
        rank: R of mAP@R.
        code_bits: Lengths of the rows.
        level_bits: Bits per level of the one DRQ code that all lengths are prefixes of.
        classes: How many.
        word_vectors: (classes, w), or None for orthogonal ones.
        published: Figures of the paper by method, mAP at each length.
        augment: Of training batches.
        embeddings: Whether inputs are vectors that a raw search can use as they are.
    """

    title: str
    train: Part
    base: Part
    query: Part
    rank: int
    code_bits: list[int]
    level_bits: int
    classes: int
    word_vectors: np.ndarray | None = None
    published: dict[str, list[float]] = field(default_factory=dict)
    augment: Callable[..., Any] | None = None
    embeddings: bool = False

    @property
    def levels(self) -> int:
        """Levels of the longest code."""
        return max(self.code_bits) // self.level_bits


def cifar10_setting1(options: argparse.Namespace) -> Task:
    """Per class 5,000 random images to train on and to search, the other 1,000 as queries."""
    published = {
        "DRQ": [0.942, 0.943, 0.943, 0.943],
        "PQNet": [0.947, 0.947, 0.946, 0.947],
        "DSDH": [0.935, 0.940, 0.939, 0.939],
    }
    return _cifar10(options, "setting 1", [5000, 1000], 5000, [16, 24, 36, 48], 4, published)


def cifar10_setting2(options: argparse.Namespace) -> Task:
    """Per class 500 images to train on, 100 queries; the other 54,000 images are searched."""
    published = {
        "DRQ": [0.803, 0.824, 0.832, 0.837],
        "DTQ": [0.785, 0.789, 0.790, 0.792],
        "DVSQ": [0.715, 0.727, 0.730, 0.733],
    }
    return _cifar10(options, "setting 2", [500, 100, 5400], 54_000, [8, 16, 24, 32], 8, published)


def nuswide(options: argparse.Namespace) -> Task:
    """NUS-WIDE, 21 concepts, from lists of images."""
    published = {"DRQ": [0.748, 0.810, 0.817, 0.821], "DTQ": [0.795, 0.798, 0.800, 0.801]}
    return _from_lists(options, "NUS-WIDE", published)


def imagenet100(options: argparse.Namespace) -> Task:
    """ImageNet-100 from lists of images."""
    return _from_lists(options, "ImageNet-100", {"DRQ": [0.551, 0.583, 0.585, 0.587]})


def embeddings(options: argparse.Namespace) -> Task:
    """Labelled embeddings: x_base, x_base_label, x_query, x_query_label and maybe x_label_words, all .npy."""
    prefix = Path(options.data)
    arrays = {
        part: np.load(f"{prefix}_{part}.npy") for part in ("base", "base_label", "query", "query_label")
    }
    words, names = Path(f"{prefix}_label_words.npy"), Path(f"{prefix}_label_names.json")
    rng = np.random.default_rng(options.seed)
    n = len(arrays["base"])
    chosen = rng.permutation(n)[: round(n * options.train_share)]
    # Another order: vectors of equal codes rank by position, and those trained on must not come first.
    order = rng.permutation(n)
    train, base = (
        Part(arrays["base"][rows].astype(np.float32), arrays["base_label"][rows].astype(np.int64))
        for rows in (chosen, order)
    )
    query = Part(arrays["query"].astype(np.float32), arrays["query_label"].astype(np.int64))
    classes = len(json.loads(names.read_text())) if names.exists() else int(base.labels.max()) + 1
    return Task(
        f"{prefix.name} embeddings",
        *(train, base, query),
        rank=1000,
        code_bits=[8, 16, 24, 32],
        level_bits=8,
        classes=classes,
        word_vectors=np.load(words).astype(np.float32) if words.exists() else None,
        embeddings=True,
    )


def _cifar10(
    options: argparse.Namespace,
    setting: str,
    counts: list[int],
    rank: int,
    code_bits: list[int],
    level_bits: int,
    published: dict[str, list[float]],
) -> Task:
    """Deal so many images per class to training, queries and, if it is not the training part, base."""
    images = read_cifar10(options.data, options.skip_unreadable)
    sizes = np.bincount(images.labels, minlength=10)
    if (sizes < 6000).any() and not options.skip_unreadable:
        raise ValueError(f"{options.data}: {sizes.tolist()} images per class, expected 6,000 each")
    train, query, *base = _per_class(images, counts, np.random.default_rng(options.seed))
    return Task(
        f"CIFAR-10, {setting}",
        *(train, base[0] if base else train, query),
        rank=rank,
        code_bits=code_bits,
        level_bits=level_bits,
        classes=10,
        word_vectors=_words(options, images.names),
        published=published,
        augment=crop_and_flip(cut=options.cut),
    )


def _per_class(images: Images, counts: list[int], rng: np.random.Generator) -> list[Part]:
    """Deal the images of every class to parts of so many each, every part in random order."""
    rows: list[list[np.ndarray]] = [[] for _ in counts]
    for label in np.unique(images.labels):
        members = rng.permutation(np.flatnonzero(images.labels == label))
        for part, piece in zip(rows, np.split(members, np.cumsum(counts)[:-1]), strict=True):
            part.append(piece)
    shuffled = [rng.permutation(np.concatenate(part)) for part in rows]
    return [Part(images.pixels[part], images.labels[part]) for part in shuffled]


def _from_lists(options: argparse.Namespace, title: str, published: dict[str, list[float]]) -> Task:
    cache = Path(options.run) / options.task / f"pixels-{options.size}.npy"
    cache.parent.mkdir(parents=True, exist_ok=True)
    images, origin = read_lists(options.data, LISTS, options.size, options.skip_unreadable, cache)
    rng = np.random.default_rng(options.seed)
    base, query, train = (
        Part(images.pixels[rows], images.labels[rows])
        for rows in (rng.permutation(np.flatnonzero(origin == i)) for i in range(len(LISTS)))
    )
    names = (Path(options.data) / "classes.txt").read_text().split() if options.words else []
    return Task(
        title,
        *(train, base, query),
        rank=5000,
        code_bits=[8, 16, 24, 32],
        level_bits=8,
        classes=images.labels.shape[1],
        word_vectors=_words(options, names),
        published=published,
        augment=crop_and_flip(options.size // 8, options.cut),
    )


def _words(options: argparse.Namespace, names: Any) -> np.ndarray | None:
    return None if options.words is None else read_word_vectors(options.words, names)


TASKS = {
    "cifar10-1": cifar10_setting1,
    "cifar10-2": cifar10_setting2,
    "nuswide": nuswide,
    "imagenet100": imagenet100,
    "embeddings": embeddings,
}
