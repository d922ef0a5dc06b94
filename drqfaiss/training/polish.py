"""Closed-form least squares that start from a quantizer that is trained already."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check, _core
from drqfaiss.quantizer import Quantizer
from drqfaiss.training import least_squares


def polish(
    quantizer: Quantizer,
    x: ArrayLike,
    *,
    scale: str | None = None,
    prefix_weights: Mapping[int, float] | None = None,
    iterations: int = 5,
    beam: int = 8,
) -> Quantizer:
    """Fit codebook and scales to vectors by `training.least_squares`, starting from those of a quantizer.

    Args:
        quantizer: Where to start; its mean and rotation are kept.
        x: array (n, d), float32. Vectors as they will be encoded.
        scale: {"geometric", "level", "vector"}. As the quantizer was trained; None: "vector" if it has scales
            per dimension, else "level".
        prefix_weights: Loss weight of each code length, as in training; None weighs length L by
            (L / levels)**4.
        iterations: Rounds of encoding and solving.
        beam: Width of the beam search that chooses the codes.

    Raises:
        TypeError, ValueError: An argument is not as above; the message names it and what was expected.
    """
    x = _check.vectors("x", x, quantizer.d)
    _check.finite("x", x)
    if len(x) == 0:
        raise ValueError("x: no vectors, expected at least one")
    own = "vector" if quantizer.scales.ndim == 2 else "level"
    scale = own if scale is None else scale
    if scale not in least_squares.SCALES or (scale == "vector") != (own == "vector"):
        raise ValueError(f"scale: got {scale!r} for scales of shape {quantizer.scales.shape}")
    _check.integer("iterations", iterations, 0)
    weights = least_squares.pair_weights(quantizer.levels, prefix_weights)
    centred = x - quantizer.mean
    if quantizer.rotation is not None:
        centred = centred @ quantizer.rotation.T
    unit = float(np.sqrt(np.square(centred, dtype=np.float64).mean())) or 1.0
    centred = np.ascontiguousarray(centred / np.float32(unit))
    codebook = quantizer.codebook.astype(np.float64) / unit
    scales = quantizer.scales.reshape(quantizer.levels, -1).astype(np.float64)
    for _ in range(iterations):
        codes = _core.encode(centred, least_squares.scaled_codebooks(codebook, scales), beam)
        statistics = least_squares.Statistics.of(centred, codes, quantizer.codewords)
        codebook, scales = least_squares.update(statistics, codebook, scales, weights, scale, relaxation=0.0)
    scales = scales if own == "vector" else scales[:, 0]
    return Quantizer(codebook * unit, scales, quantizer.mean, quantizer.rotation)
