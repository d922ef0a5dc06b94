"""Labels and the word vectors of their classes."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def label_matrix(labels: ArrayLike, n: int, classes: int | None = None) -> Tensor:
    """Return labels as a boolean matrix.

    Args:
        labels: array (n,) of class numbers, or (n, C) of zeros and ones for samples in several classes.
        n: How many samples there are.
        classes: How many classes there are; as many as the labels say if None.

    Returns:
        (n, C), bool

    Raises:
        TypeError: Labels that are not integers or booleans.
        ValueError: Another shape, a class out of range, a sample without a class.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iub":
        raise TypeError(f"labels: got {labels.dtype}, expected integers or booleans")
    if labels.ndim not in (1, 2) or len(labels) != n:
        raise ValueError(f"labels: got shape {labels.shape}, expected ({n},) or ({n}, classes)")
    if labels.ndim == 1:
        return _one_hot(labels, classes)
    if classes is not None and labels.shape[1] != classes:
        raise ValueError(f"labels: got shape {labels.shape}, expected ({n}, {classes})")
    if labels.size and not (labels.min() >= 0 and labels.max() <= 1):
        raise ValueError(f"labels: got {labels.min()} to {labels.max()}, expected a matrix of 0 and 1")
    empty = np.flatnonzero(~labels.any(1))
    if len(empty):
        raise ValueError(
            f"labels: got {len(empty)} samples without a class, the first is {empty[0]}, expected one each"
        )
    return torch.from_numpy(labels.astype(bool))


def _one_hot(labels: np.ndarray, classes: int | None) -> Tensor:
    classes = int(labels.max(initial=0)) + 1 if classes is None else classes
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(
            f"labels: got class {labels[wrong[0]]} of sample {wrong[0]}, expected 0 to {classes - 1}"
        )
    return torch.from_numpy(labels[:, None] == np.arange(classes))


def read_word_vectors(path: str | os.PathLike[str], names: Sequence[str]) -> np.ndarray:
    """Read the vectors of class names from a text file: a word and its numbers per line, as GloVe has them.

    A name of several words (split at spaces, "_", "-") takes the mean of their vectors.

    Returns:
        (len(names), w), float32

    Raises:
        ValueError: A class without a vector, a malformed line.
    """
    words = {name: name.lower().replace("_", " ").replace("-", " ").split() for name in names}
    wanted = {word for parts in words.values() for word in parts}
    found: dict[str, np.ndarray] = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            word, _, numbers = line.rstrip().partition(" ")
            if word in wanted:
                found[word] = _parse(numbers, f"{path}: line {number}")
    missing = [name for name, parts in words.items() if not parts or any(part not in found for part in parts)]
    if missing:
        raise ValueError(f"{path}: got no word vector for the classes {missing}, expected one each")
    return np.stack([np.mean([found[part] for part in parts], 0) for parts in words.values()])


def _parse(numbers: str, where: str) -> np.ndarray:
    try:
        return np.array(numbers.split(), np.float32)
    except ValueError as error:
        raise ValueError(f"{where}: expected a word and numbers ({error})") from error
