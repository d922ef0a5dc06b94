"""Options that several subcommands share, and what they do to an index."""

from __future__ import annotations

import argparse
import math
import os

import faiss

from drqfaiss import _check
from drqfaiss._files import require_writable
from drqfaiss.datasets import VectorsOnDisk, file_and_part, open_vectors

METRICS = {name: metric for metric, name in _check.METRIC_NAMES.items()}
VECTORS_HELP = "vectors: .fvecs, .bvecs, .npy, or an HDF5 file and the array in it: x.hdf5:train"


def positive(text: str) -> int:
    """Read an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, expected at least 1")
    return number


def seconds(text: str) -> float:
    """Read a time: a finite number of at least 0."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"got {number}, expected a finite number of at least 0")
    return number


def numbers(text: str) -> list[int]:
    """Read positive integers with commas in between."""
    return [positive(part) for part in text.split(",")]


def add_normalize(parser: argparse.ArgumentParser) -> None:
    """Add the option for cosine similarity."""
    parser.add_argument(
        "--normalize", action="store_true", help="divide vectors by their norm (cosine, 'angular' data)"
    )


def require_output(output: str, vectors: str) -> None:
    """Require, before the work, that the output can be written, and is not the file of vectors: it would go.

    Raises:
        OSError, ValueError: naming the output.
    """
    require_writable(output)
    path, _ = file_and_part(vectors)
    if os.path.isfile(output) and path.exists() and os.path.samefile(output, path):
        raise ValueError(f"{output}: got the file of the vectors to read, expected another file to write")


def open_for(index: faiss.Index, name: str) -> VectorsOnDisk:
    """Open vectors that have the index's dimension.

    Raises:
        FileNotFoundError, ValueError: as `open_vectors`, and for another dimension.
    """
    vectors = open_vectors(name)
    if vectors.shape[1] != index.d:
        raise ValueError(
            f"{name}: got vectors of {vectors.shape[1]} dimensions, expected {index.d} as the index has"
        )
    return vectors
