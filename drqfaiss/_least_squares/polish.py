"""Closed-form least squares that start from a quantizer that is trained already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check, _core
from drqfaiss._least_squares.model import Group
from drqfaiss._least_squares.options import SCALES, check_size
from drqfaiss._least_squares.prefixes import gain_weights, tail_weights
from drqfaiss._least_squares.solving import Levels, Statistics, relaxation_in, update
from drqfaiss._least_squares.train import inlying

if TYPE_CHECKING:
    from drqfaiss.quantizer import Quantizer


def polish(
    quantizer: Quantizer,
    x: ArrayLike,
    *,
    scale: str | None = None,
    prefix_weights: Mapping[int, float] | None = None,
    iterations: int = 20,
    beam: int = 8,
) -> Quantizer:
    """Fit codebook and scales to vectors by least squares, starting from those of a quantizer.

    Args:
        quantizer: Where to start; its mean and rotation are kept.
        x: array (n, d), float32. Vectors as they will be encoded. For memory, levels * 2**bits is at most
            23170.
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
        raise ValueError("x: got no vectors, expected at least one")
    narrow = any(group.codebook.shape[1] < quantizer.d for group in quantizer.groups)
    if narrow or (np.diff(quantizer.level_groups) < 0).any():
        raise ValueError(
            f"quantizer: got {quantizer.layout}, expected groups in all dimensions, one after another"
        )
    own = "vector" if quantizer.scales.ndim == 2 else "level"
    scale = own if scale is None else scale
    fitting = ("vector",) if own == "vector" else SCALES[:2]
    if scale not in fitting:
        shape = quantizer.scales.shape
        raise ValueError(
            f"scale: got {scale!r} for scales of shape {shape}, expected {' or '.join(map(repr, fitting))}"
        )
    _check.integer("iterations", iterations, 0)
    check_size(quantizer.levels, quantizer.bits)
    tail = tail_weights(quantizer.levels, prefix_weights)
    gains = gain_weights(quantizer.levels, prefix_weights)
    centred = x - quantizer.mean
    centred = centred[inlying(centred)]
    if quantizer.rotation is not None:
        centred = centred @ quantizer.rotation.T
    unit = float(np.sqrt(np.square(centred, dtype=np.float64).mean())) or 1.0
    centred = np.ascontiguousarray(centred / np.float32(unit))
    bases = np.array([group.codebook for group in quantizer.groups], np.float64) / unit
    scales = quantizer.scales.reshape(quantizer.levels, -1).astype(np.float64)
    fitted = Levels(bases, quantizer.level_groups, scales).normalised()
    for iteration in range(iterations):
        codes = _core.encode(centred, fitted.codebooks(), beam, gains)
        statistics = Statistics.of(centred, codes, quantizer.codewords)
        fitted = update(statistics, fitted, tail, scale, relaxation_in(iteration, iterations))
    bases = fitted.bases * unit
    scales = fitted.scales if own == "vector" else fitted.scales[:, 0]
    return quantizer.replace(groups=[Group(base) for base in bases], scales=scales)
