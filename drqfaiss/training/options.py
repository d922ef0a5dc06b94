"""How an IndexDRQ trains: its options, and the function that the C++ object calls."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss import _check as check
from drqfaiss._core import plugin
from drqfaiss._faiss_abi import address
from drqfaiss.quantizer import Quantizer

SCALES = ("geometric", "level", "vector")
DEFAULT_BEAM = 8


def training_options(
    *,
    scale: str = "level",
    prefix_weights: dict[int, float] | None = None,
    iterations: int | None = None,
    beam: int | None = None,
    seed: int | None = None,
    max_vectors: int | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Return checked options for training an IndexDRQ; None leaves the default of ``Quantizer.train``.

    Args:
        scale: {"geometric", "level", "vector"}. One ratio for all levels, a scale per level, or a scale per
            level and dimension.
        prefix_weights: How much the error after the first L levels counts, by L.
        iterations: Rounds of encoding and solving.
        beam: Beam width, at training and at encoding; kept as ``rq.max_beam_size``, 8 if None.
        seed: The same seed, vectors and number of threads give the same codebook.
        max_vectors: Of more training vectors than that, a random sample is used.
        progress: Whether to show a progress bar.
    """
    if scale not in SCALES:
        raise ValueError(f"scale: got {scale!r}, expected one of {', '.join(SCALES)}")
    if prefix_weights is not None:
        if not isinstance(prefix_weights, dict):
            raise TypeError(f"prefix_weights: got {prefix_weights!r}, expected a dict from levels to weights")
        prefix_weights = {
            check.integer("prefix_weights", levels, 1): check.number("prefix_weights", weight)
            for levels, weight in prefix_weights.items()
        }
    options = {
        "scale": scale,
        "prefix_weights": prefix_weights,
        "iterations": None if iterations is None else check.integer("iterations", iterations, 1),
        "beam": None if beam is None else check.integer("beam", beam, 1),
        "seed": None if seed is None else check.integer("seed", seed, 0),
        "max_vectors": None if max_vectors is None else check.integer("max_vectors", max_vectors, 1),
        "progress": None if progress is None else bool(progress),
    }
    return {name: value for name, value in options.items() if value is not None}


def use_drq_training(index: faiss.IndexResidualQuantizer, options: dict[str, Any]) -> None:
    """Let an adopted index train as DRQ does. The options stay with the C++ object."""
    plugin.set_training(address(index), json.dumps(options))
    index.rq.max_beam_size = options.get("beam", DEFAULT_BEAM)


_training = threading.local()  # its `error` exists inside `original_errors` in this thread


@contextmanager
def original_errors() -> Iterator[None]:
    """Raise an exception of the trainer as it was, instead of the RuntimeError that FAISS makes of it."""
    _training.error = None
    try:
        yield
    except RuntimeError as error:
        raise _training.error or error from None
    finally:
        del _training.error


def _train(x: NDArray[np.float32], nbits: list[int], options: str) -> NDArray[np.float32]:
    """Train for the plug-in, which may call from any thread that trains an index containing an IndexDRQ."""
    try:
        arguments = json.loads(options)
        weights = arguments.pop("prefix_weights", None)
        if weights is not None:  # JSON turned the keys into strings
            arguments["prefix_weights"] = {int(levels): weight for levels, weight in weights.items()}
        return Quantizer.train(x, levels=len(nbits), bits=nbits[0], **arguments).codebooks()
    except BaseException as error:
        if hasattr(_training, "error"):
            _training.error = error
        raise


plugin.set_trainer(_train)
