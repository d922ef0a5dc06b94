"""Codes of many levels: the first in all dimensions, the others on blocks of what these leave over.

The residual of the first levels is nearly isotropic, and K codewords say little about hundreds of its
dimensions at once. So it is rotated to its principal axes and these are cut into blocks of few. Every block
is quantized recurrently like the whole, with a codebook of its own and a scale per level. The next level of
the code is always the one that removes most error, measured on vectors that no codebook was fitted to: every
prefix is then the best code of its length, and axes with little variance get few levels or none. That is
reverse water-filling (Cover and Thomas, "Elements of Information Theory", section 10.3.3), a level at a time;
FAISS's product residual quantizers have blocks of equal length in a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from drqfaiss import _core
from drqfaiss._least_squares.model import Group, Model
from drqfaiss._least_squares.options import TrainingOptions
from drqfaiss._least_squares.prefixes import weights_of_part
from drqfaiss._least_squares.train import inlying, principal_axes, train

HELD_OUT, MOST_HELD_OUT = 0.125, 4096  # of the training vectors, to measure what a level is worth
FIRST_LOSS, LATER_LOSS = 1.29, 1.096  # see `expected_errors`
SHARE_OF_WORK = 0.4  # of the rounds and the beam of a quality: blocks are many, and more gains them nothing
FEWEST_FOR_OWN_FIRST = 3  # levels of a block whose first has a codebook of its own
MEASURING_BEAM = 8
PREFIX_POWER = 0.5  # a prefix of l of a block's L levels weighs (l / L) to this power: many codes end in it


class Fitted(NamedTuple):
    """A model trained on some dimensions, and the mean squared error left after 0, 1, 2, … levels."""

    model: Model
    errors: list[float]


def train_blocks(
    x: np.ndarray, levels: int, bits: int, global_levels: int, block_size: int, options: TrainingOptions
) -> Model:
    """Train `global_levels` levels in all dimensions and the others on blocks of `block_size`.

    Args:
        x: array (n, d), float32. Finite, at least 2**bits vectors.
        levels: Levels M of the full code.
        bits: Bits per level.
        global_levels: Fewer than `levels`.
        block_size: Dimensions of a block; the last may have fewer.
        options: How to train.
    """
    whole = _global_model(x, global_levels, bits, options)
    left = residuals(x, whole, global_levels, options.work.encoding_beam)
    left = left[inlying(left - left.mean(0))]
    mean = left.mean(0, dtype=np.float64).astype(np.float32)
    rotation = principal_axes(left - mean)
    fit, held_out = split((left - mean) @ rotation.T, 2**bits, options.seed)
    cuts = cut(x.shape[1], block_size)
    counts = np.bincount(
        order(expected_errors(fit.var(0), cuts, levels - global_levels, bits), levels - global_levels),
        minlength=len(cuts),
    )
    blocks = [
        fitted(fit[:, cut], held_out[:, cut], count, bits, _block_options(count, options)) if count else None
        for cut, count in zip(cuts, counts.tolist(), strict=True)
    ]
    return _assembled(whole, mean, rotation, cuts, blocks)


def cut(d: int, block_size: int) -> list[slice]:
    """Return the dimensions of every block; the last may have fewer."""
    return [slice(at, min(at + block_size, d)) for at in range(0, d, block_size)]


def expected_errors(variances: np.ndarray, cuts: list[slice], levels: int, bits: int) -> list[list[float]]:
    """Return the error to expect of every block after 0, 1, … levels.

    A level of R bits per dimension cannot divide the error of normal variables by more than 2^(2 R) (Cover
    and Thomas, "Elements of Information Theory", section 10.3.2). Measured on several sets, the first level
    of a block leaves 1.29 times that, and every other 1.096 times.
    """
    errors = []
    for block in cuts:
        best = 2.0 ** (-2 * bits / (block.stop - block.start))
        left = [float(variances[block].sum(dtype=np.float64))]
        for level in range(levels):
            left.append(left[-1] * min(1.0, best * (LATER_LOSS if level else FIRST_LOSS)))
        errors.append(left)
    return errors


def order(errors: Sequence[Sequence[float]], levels: int) -> list[int]:
    """Return the block of each of so many levels: the next is where it removes most error.

    Args:
        errors: Of every block, the error after 0, 1, … of its levels; at least `levels` in all.
        levels: How many levels to deal out.
    """
    given, dealt = [0] * len(errors), []
    for _ in range(levels):
        gains = [
            own[count] - own[count + 1] if count + 1 < len(own) else -np.inf
            for own, count in zip(errors, given, strict=True)
        ]
        block = int(np.argmax(gains))
        given[block] += 1
        dealt.append(block)
    return dealt


def _global_model(x: np.ndarray, levels: int, bits: int, options: TrainingOptions) -> Model | None:
    if levels == 0:
        return None
    weights = weights_of_part(options.prefix_weights, 0, levels)
    return train(x, levels, bits, replace(options, prefix_weights=weights))


def _block_options(levels: int, options: TrainingOptions) -> TrainingOptions:
    """Return how a block of so many levels trains."""
    weights = {level: (level / levels) ** PREFIX_POWER for level in range(1, levels + 1)}
    return replace(
        options.with_own(int(levels >= FEWEST_FOR_OWN_FIRST)),
        iterations=options.iterations or math.ceil(SHARE_OF_WORK * options.work.iterations),
        beam=options.beam or math.ceil(SHARE_OF_WORK * options.work.beam),
        prefix_weights=weights,
        progress=False,
    )


def residuals(x: np.ndarray, model: Model | None, levels: int, beam: int) -> np.ndarray:
    """Return what the first levels of a model of all dimensions leave over of x (n, d), less its mean."""
    if model is None:
        return x
    *_, left = remainders(x, model, levels, beam)
    return left


def remainders(x: np.ndarray, model: Model, levels: int, beam: int) -> Iterator[np.ndarray]:
    """Yield what 0, 1, … levels of a model with a scale per level leave over of x (n, d), along its axes.

    It is one array, which changes from level to level.
    """
    left = x - model.mean
    if model.rotation is not None:
        left = left @ model.rotation.T
    yield left
    if levels == 0:
        return
    codebooks = codebooks_of(model)[:levels]
    codes = _core.encode(left, codebooks, beam)
    for m, codebook in enumerate(codebooks):
        left -= codebook[codes[:, m]]
        yield left


def codebooks_of(model: Model) -> np.ndarray:
    """Return the codebooks (M, K, d) of a model with a scale per level, without mean and rotation."""
    groups = [model.groups[g] for g in model.level_groups]
    codebooks = np.zeros((len(groups), len(groups[0].codebook), len(model.mean)), np.float32)
    for codebook, group, scale in zip(codebooks, groups, model.scales, strict=True):
        codebook[:, group.dimensions] = scale * group.codebook
    return codebooks


def split(x: np.ndarray, fewest: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors to fit and vectors to measure with; the same ones where that would leave too few."""
    count = min(int(HELD_OUT * len(x)), MOST_HELD_OUT)
    if count == 0 or len(x) - count < 2 * fewest:
        return x, x
    order = np.random.default_rng(seed).permutation(len(x))
    return x[order[count:]], x[order[:count]]


def fitted(fit: np.ndarray, held_out: np.ndarray, levels: int, bits: int, options: TrainingOptions) -> Fitted:
    """Train on the vectors to fit, and measure on the others."""
    fit, held_out = np.ascontiguousarray(fit), np.ascontiguousarray(held_out)
    model = train(fit, levels, bits, options)
    return Fitted(model, prefix_errors(model, held_out, MEASURING_BEAM))


def prefix_errors(model: Model, x: np.ndarray, beam: int) -> list[float]:
    """Return the mean squared error of x (n, d) after 0, 1, … levels of a model with a scale per level."""
    after_levels = islice(remainders(x, model, len(model.scales), beam), 1, None)
    return [float(np.square(left, dtype=np.float64).sum(1).mean()) for left in chain([x], after_levels)]


def _assembled(
    whole: Model | None,
    mean: np.ndarray,
    rotation: np.ndarray,
    cuts: Sequence[slice],
    blocks: Sequence[Fitted | None],
) -> Model:
    """Return one model of the levels in all dimensions and those on blocks, in the order of their worth."""
    groups, level_groups, scales = [], [], []
    in_axes = np.zeros_like(mean)
    if whole is not None:
        groups += [Group(group.codebook @ rotation.T) for group in whole.groups]
        level_groups += whole.level_groups.tolist()
        scales += whole.scales.tolist()
        mean = mean + whole.mean
    waiting: list[Iterator[tuple[int, float]]] = []  # of every block, the groups and scales of its levels
    for block, dimensions in zip(blocks, cuts, strict=True):
        if block is None:
            waiting.append(iter(()))
            continue
        waiting.append(zip(block.model.level_groups + len(groups), block.model.scales, strict=True))
        groups += [Group(group.codebook, dimensions.start) for group in block.model.groups]
        in_axes[dimensions] = block.model.mean
    errors = [block.errors if block else [0.0] for block in blocks]
    for b in order(errors, sum(len(own) - 1 for own in errors)):
        group, scale = next(waiting[b])
        level_groups.append(group)
        scales.append(scale)
    mean = (mean + in_axes @ rotation).astype(np.float32)
    return Model(tuple(groups), np.array(level_groups), np.array(scales, np.float32), mean, rotation)
