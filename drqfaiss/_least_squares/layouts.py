"""Which levels share a codebook, and where it lives: one for all, or blocks after a few levels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check
from drqfaiss._least_squares import blocks
from drqfaiss._least_squares.model import Model
from drqfaiss._least_squares.options import QUALITIES, TrainingOptions
from drqfaiss._least_squares.train import inlying
from drqfaiss._least_squares.train import train as train_shared

SHORT = 8  # levels of a code up to which one codebook is best
LONGEST_SHARED = 16  # levels in all dimensions; beyond, these gain less than levels on blocks
GLOBAL_LEVELS = (0, 2, 4, 6, 8, 12, 16)  # to choose from
DIMENSIONS_PER_BIT = 2  # of a block: 16 for codebooks of 256 codewords
DRAFT = QUALITIES["fast"]  # of the levels in all dimensions
MEASURED, UNREACHABLE = 4096, 0.5  # vectors, and a share of the error: see `warn_of_unreachable`
SHORTEST = 4  # levels of a prefix that counts in the choice


class Layout(NamedTuple):
    """Levels in all dimensions, and the dimensions of a block for the others; 0: there are none."""

    global_levels: int
    block_size: int


def train(x: ArrayLike, levels: int, bits: int, options: TrainingOptions) -> Model:
    """Train codes of the layout that options name, or of the one that suits the vectors.

    Args:
        x: array (n, d), float32. Finite, at least 2**bits vectors.
        levels: Levels M of the full code. With one codebook levels * 2**bits is at most 23170, for memory.
        bits: Bits per level.
        options: How to train.

    Raises:
        TypeError, ValueError: An argument is not as above; the message names it and what was expected.
    """
    x = _check.floats("x", x, 2)
    _check.finite("x", x)
    options = options.for_shape(levels, bits)
    layout = choose(x, levels, bits, options)
    if layout.global_levels == levels:
        model = train_shared(x, levels, bits, options)
        if options.scale != "vector":
            warn_of_unreachable(sample(x, MEASURED, options.seed), model)
        return model
    if len(x) < 2**bits:
        raise ValueError(
            f"x: got {len(x)} training vectors, expected at least the {2**bits} codewords of a level"
        )
    return blocks.train_blocks(x, levels, bits, *layout, options)


def choose(x: np.ndarray, levels: int, bits: int, options: TrainingOptions) -> Layout:
    """Return the layout to train; where options leave a choice, by drafts on a part of x."""
    d = x.shape[1]
    if options.layout == "shared":
        return Layout(levels, 0)
    block_size = options.block_size or DIMENSIONS_PER_BIT * bits
    if options.layout == "blocks":
        if options.scale == "vector":
            raise ValueError('scale: got "vector" for blocks, expected "level" or "geometric"')
        if block_size > d:
            raise ValueError(f"block_size: got {block_size}, expected at most the {d} dimensions")
        if options.global_levels is not None:
            _check.integer("global_levels", options.global_levels, 0, levels - 1)
            return Layout(options.global_levels, block_size)
    elif levels <= SHORT or options.scale == "vector" or d < 2 * block_size or len(x) < 2**bits:
        return Layout(levels, 0)
    return best(x, levels, bits, block_size, options)


def best(x: np.ndarray, levels: int, bits: int, block_size: int, options: TrainingOptions) -> Layout:
    """Return the layout with the least errors to expect, on average of their logarithms, at several lengths.

    One draft of the levels in all dimensions serves for all layouts, because its prefixes are drafts of fewer
    levels; what levels on blocks do to the rest is known beforehand.
    """
    most = min(levels, LONGEST_SHARED)
    weights = {level: float(level) for level in range(1, most + 1)}
    draft = replace(
        options,
        iterations=DRAFT.iterations,
        beam=DRAFT.beam,
        own_first=True,
        prefix_weights=weights,
        progress=False,
    )
    fit, held_out = blocks.split(sample(x, DRAFT.max_vectors, options.seed), 2**bits, options.seed)
    whole = blocks.fitted(fit, held_out, most, bits, draft)
    lengths = [
        levels >> halvings for halvings in range(levels.bit_length()) if levels >> halvings >= SHORTEST
    ]
    scores = {}
    for count in GLOBAL_LEVELS:
        if count > levels - SHORTEST:
            continue
        left = blocks.residuals(held_out, whole.model, count, blocks.MEASURING_BEAM)
        errors = whole.errors[: count + 1] + errors_on_blocks(left, levels - count, bits, block_size)
        scores[Layout(count, block_size)] = score(errors, lengths)
    if levels <= LONGEST_SHARED and options.layout == "auto":
        scores[Layout(levels, 0)] = score(whole.errors, lengths)
    return min(scores, key=lambda layout: scores[layout])


def errors_on_blocks(left: np.ndarray, levels: int, bits: int, block_size: int) -> list[float]:
    """Return the errors to expect after 1, 2, … levels on blocks of what is left over, (n, d)."""
    left = left[inlying(left - left.mean(0))]
    variances = np.linalg.eigvalsh(np.cov(left.T, bias=True))[::-1]
    expected = blocks.expected_errors(variances, blocks.cut(left.shape[1], block_size), levels, bits)
    total, given, errors = float(variances.sum()), [0] * len(expected), []
    for block in blocks.order(expected, levels):
        own, count = expected[block], given[block]
        total += own[count + 1] - own[count]
        given[block] += 1
        errors.append(total)
    return errors


def warn_of_unreachable(x: np.ndarray, model: Model) -> None:
    """Warn where most of what codes leave over lies in directions that no sum of codewords can reach.

    Multiples of K codewords less their mean span K − 1 dimensions, however many levels there are.
    """
    d, K = x.shape[1], len(model.groups[0].codebook)
    reached = len(model.groups) * (K - 1)
    if reached >= d or len(model.scales) == len(model.groups):  # no level uses a codebook again
        return
    left = x - model.mean
    left = left[inlying(left)]
    unreachable = float(np.linalg.eigvalsh(np.cov(left.T, bias=True))[: d - reached].sum())
    error = blocks.prefix_errors(model, left + model.mean, blocks.MEASURING_BEAM)[-1]
    if unreachable > UNREACHABLE * error:
        warnings.warn(
            f"{len(model.groups)} codebook(s) of {K} codewords reach {reached} of {d} dimensions: the "
            f"others hold {unreachable / error:.0%} of the error of a code, which more levels do not lower. "
            'Blocks reach all of them (layout="blocks"), so do more bits a level or scale="vector"',
            stacklevel=2,
        )


def score(errors: Sequence[float], lengths: Sequence[int]) -> float:
    """Return the mean logarithm of the errors after so many levels."""
    return float(np.mean([math.log(max(errors[length], 1e-30)) for length in lengths]))


def sample(x: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return at most so many of the vectors, drawn at random."""
    if len(x) <= most:
        return x
    return x[np.sort(np.random.default_rng(seed).choice(len(x), most, replace=False))]
