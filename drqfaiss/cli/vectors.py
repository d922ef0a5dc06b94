"""What commands do with the options that several of them have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import product
from typing import Any

import faiss

from drqfaiss import _check
from drqfaiss._files import require_writable
from drqfaiss._indexes.settings import Setting
from drqfaiss.cli.options import SETTINGS, TRAINING, Bench, Settings, SweptSettings, Train
from drqfaiss.datasets import VectorsOnDisk, file_and_part, open_vectors

METRICS: Mapping[str, int] = {name: metric for metric, name in _check.METRIC_NAMES.items()}


def training_of(options: Train | Bench, factory: str) -> dict[str, Any]:
    """Return the arguments for `index_factory`: those that were given, and for DRQ seed and progress."""
    given = {option.name: getattr(options.training, option.name) for option in TRAINING}
    training = {name: value for name, value in given.items() if value not in (None, False)}
    return training | ({"seed": options.seed, "progress": not options.quiet} if "DRQ" in factory else {})


def settings_of(options: Settings | SweptSettings) -> list[Setting]:
    """Return every combination of the values given."""
    given = [getattr(options, name) for name in SETTINGS]
    values = [value if isinstance(value, list) else [value] for value in given]
    return [Setting(**dict(zip(SETTINGS, chosen, strict=True))) for chosen in product(*values)]


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
