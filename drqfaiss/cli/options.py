"""Options that several subcommands share, and what they do to an index."""

from __future__ import annotations

import argparse

import faiss

from drqfaiss import _check as check
from drqfaiss.datasets import VectorsOnDisk, open_vectors

METRICS = {name: metric for metric, name in check.METRIC_NAMES.items()}
VECTORS_HELP = "vectors: .fvecs, .bvecs, .npy, or an HDF5 file and the array in it: x.hdf5:train"


def positive(text: str) -> int:
    """Read an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}, expected at least 1")
    return number


def numbers(text: str) -> list[int]:
    """Read positive integers with commas in between."""
    return [positive(part) for part in text.split(",")]


def add_normalize(parser: argparse.ArgumentParser) -> None:
    """Add the option for cosine similarity."""
    parser.add_argument(
        "--normalize", action="store_true", help="divide vectors by their norm (cosine, 'angular' data)"
    )


def open_for(index: faiss.Index, name: str) -> VectorsOnDisk:
    """Open vectors that have the index's dimension.

    Raises:
        FileNotFoundError, ValueError: as `open_vectors`, and for another dimension.
    """
    vectors = open_vectors(name)
    if vectors.shape[1] != index.d:
        raise ValueError(
            f"{name}: vectors of {vectors.shape[1]} dimensions, expected {index.d} as the index has"
        )
    return vectors
