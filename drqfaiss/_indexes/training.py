"""How an IndexDRQ trains: its options, and the function that the C++ object calls."""

import json
from collections.abc import Mapping
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss._core import plugin
from drqfaiss._engines import engine_of
from drqfaiss._least_squares.options import QUALITIES, check_options
from drqfaiss._least_squares.prefixes import gain_weights
from drqfaiss.quantizer import Quantizer


def training_options(
    levels: int,
    bits: int,
    *,
    scale: str | None = None,
    own_first: bool | None = None,
    prefix_weights: Mapping[int, float] | None = None,
    quality: str | None = None,
    iterations: int | None = None,
    beam: int | None = None,
    seed: int | None = None,
    max_vectors: int | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Return checked options for training an IndexDRQ; None leaves the default of ``Quantizer.train``.

    Args:
        levels: Levels of the index.
        bits: Bits per level.
        scale: {"geometric", "level", "vector"}. One ratio for all levels, a scale per level, or a scale per
            level and dimension.
        own_first: Whether the first level has a codebook of its own.
        prefix_weights: How much the error after the first L levels counts, by L, in training and when vectors
            are added; above 0 for all levels.
        quality: {"fast", "default", "best"}. Time against accuracy, see ``training.arguments.QUALITIES``; the
            options below replace parts of it.
        iterations: Rounds of encoding and solving.
        beam: Beam width, at training and at encoding. ``rq.max_beam_size`` holds the width for encoding and
            may be changed later.
        seed: The same seed, vectors and number of threads give the same codebook.
        max_vectors: Of more training vectors than that, at least 2**bits, a random sample is used.
        progress: Whether to show a line on stderr, if that is a terminal.

    Raises:
        TypeError, ValueError: Naming the option and what was expected.
    """
    options = {
        "scale": scale,
        "own_first": own_first,
        "prefix_weights": prefix_weights,
        "quality": quality,
        "iterations": iterations,
        "beam": beam,
        "seed": seed,
        "max_vectors": max_vectors,
        "progress": None if progress is None else bool(progress),
    }
    given = {name: value for name, value in options.items() if value is not None}
    return check_options(levels, bits, given)


def use_drq_training(index: faiss.IndexResidualQuantizer, options: dict[str, Any]) -> None:
    """Let an adopted index train and encode as DRQ does. The options stay with the C++ object."""
    set_training(index, json.dumps(options))
    quality = QUALITIES[options.get("quality", "default")]
    index.rq.max_beam_size = options.get("beam", quality["encoding_beam"])


def set_training(index: faiss.IndexResidualQuantizer, options: str) -> None:
    """Set options as `Engine.training` returns them: empty for an index that is no DRQ of ours."""
    weights = _arguments(options).get("prefix_weights") if options else None
    engine_of(index).set_training(index, options, gain_weights(index.rq.M, weights) if options else [])


def _arguments(options: str) -> dict[str, Any]:
    arguments = json.loads(options)
    weights = arguments.get("prefix_weights")
    if weights is not None:  # JSON turned the keys into strings
        arguments["prefix_weights"] = {int(levels): weight for levels, weight in weights.items()}
    return arguments


def train(x: NDArray[np.float32], nbits: list[int], options: str) -> NDArray[np.float32]:
    """Train for FAISS, which may call from any thread that trains an index containing an IndexDRQ."""
    return Quantizer.train(x, levels=len(nbits), bits=nbits[0], **_arguments(options)).codebooks()


plugin.set_trainer(train)
