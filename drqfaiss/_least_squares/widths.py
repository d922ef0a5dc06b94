"""Codes whose levels differ in bits: levels of one width after another, on what those before leave over.

Levels of 4 bits are the quickest to scan: a table of 16 entries is one register. Those of 8 bits take fewest
bytes for an error. So codes that are scanned by their first levels and ranked by all have narrow ones first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check
from drqfaiss._least_squares import blocks, layouts
from drqfaiss._least_squares.model import Group, Model
from drqfaiss._least_squares.options import TrainingOptions, require_vectors
from drqfaiss._least_squares.prefixes import weights_of_part


def train(x: ArrayLike, bits: Sequence[int], options: TrainingOptions) -> Model:
    """Train codes of levels that have these bits, (M,).

    Args:
        x: array (n, d), float32. Finite, at least 2**bits vectors.
        bits: Bits of every level, 1 to 16. Levels of one width after each other are trained together, as
            `layouts.train` does.
        options: How to train.

    Raises:
        TypeError, ValueError: An argument is not as above; the message names it and what was expected.
    """
    runs = [(width, len(list(levels))) for width, levels in groupby(bits)]
    if len(runs) == 1:
        return layouts.train(x, len(bits), bits[0], options)
    options = options.for_shape(len(bits), max(bits))
    if options.scale == "vector":
        raise ValueError('scale: got "vector" for levels of different bits, expected "level" or "geometric"')
    if options.layout == "blocks" and options.global_levels is not None:
        raise ValueError(
            f"global_levels: got {options.global_levels} for levels of different bits, expected None"
        )
    left = _check.floats("x", x, 2)
    require_vectors(len(left), max(bits))
    whole, begin = None, 0
    for width, levels in runs:
        weights = weights_of_part(options.prefix_weights, begin, levels)
        part = layouts.train(left, levels, width, replace(options, prefix_weights=weights))
        whole = part if whole is None else _joined(whole, part)
        begin += levels
        if begin < len(bits):
            left = np.ascontiguousarray(blocks.residuals(left, part, levels, options.work.encoding_beam))
    assert whole is not None
    return whole


def _joined(first: Model, second: Model) -> Model:
    """Return one model of levels, and of others that live in the space along the axes of these."""
    groups, rotation, mean = list(first.groups), first.rotation, second.mean
    if second.rotation is not None:
        groups = [Group(group.codebook @ second.rotation[:, group.dimensions].T) for group in groups]
        rotation = second.rotation if rotation is None else second.rotation @ rotation
    if first.rotation is not None:
        mean = mean @ first.rotation
    return Model(
        (*groups, *second.groups),
        np.concatenate([first.level_groups, second.level_groups + len(groups)]),
        np.concatenate([first.scales, second.scales]),
        (first.mean + mean).astype(np.float32),
        rotation,
    )
