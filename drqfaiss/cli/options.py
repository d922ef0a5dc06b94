"""Options that several subcommands share, and what they do to an index."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from itertools import product
from typing import Any

import faiss

from drqfaiss import _check
from drqfaiss._files import require_writable
from drqfaiss._indexes.settings import Setting
from drqfaiss.datasets import VectorsOnDisk, file_and_part, open_vectors

METRICS = {name: metric for metric, name in _check.METRIC_NAMES.items()}
VECTORS_HELP = "vectors: .fvecs, .bvecs, .npy, or an HDF5 file and the array in it: x.hdf5:train"


def positive(text: str) -> int:
    """Read an integer of at least 1."""
    return _at_least(1, int(text))


def seconds(text: str) -> float:
    """Read a time: a finite number of at least 0."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"got {number}, expected a finite number of at least 0")
    return number


def counted(text: str) -> int:
    """Read an integer of at least 0."""
    return _at_least(0, int(text))


def _at_least(lowest: int, number: int) -> int:
    if number < lowest:
        raise argparse.ArgumentTypeError(f"got {number}, expected at least {lowest}")
    return number


def factor(text: str) -> float:
    """Read a finite number of at least 1."""
    number = float(text)
    if not 1 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"got {number:g}, expected at least 1")
    return number


def several(read: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Return what reads values with commas in between."""

    def values(text: str) -> list[Any]:
        return [read(part) for part in text.split(",")]

    values.__name__ = read.__name__  # argparse names it in errors.
    return values


# How each setting of a search is read, and what it says.
SETTINGS: dict[str, tuple[Callable[[str], Any], str]] = {
    "levels": (counted, "levels of the codes to compare, 0: all"),
    "refine_levels": (counted, "levels to rank a shortlist by, 0: all"),
    "refine_factor": (counted, "how many times as many vectors as neighbours to rank, 0: no second stage"),
    "nprobe": (positive, "inverted lists to look into"),
    "k_factor": (factor, "how many times as many candidates as neighbours a refining index ranks"),
}


def add_settings(parser: argparse.ArgumentParser, swept: bool = False) -> None:
    """Add what `settings_of` reads; swept are several values each, with commas in between."""
    group = parser.add_argument_group("settings of the search", "defaults are those of the index")
    for name, (read, says) in SETTINGS.items():
        group.add_argument(
            "--" + name.replace("_", "-"),
            type=several(read) if swept else read,
            metavar="N,…" if swept else "N",
            help=says,
        )


def settings_of(options: argparse.Namespace) -> list[Setting]:
    """Return every combination of the values given."""
    given = [getattr(options, name) for name in SETTINGS]
    values = [value if isinstance(value, list) else [value] for value in given]
    return [Setting(**dict(zip(SETTINGS, chosen, strict=True))) for chosen in product(*values)]


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
