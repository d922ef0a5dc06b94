"""Which levels share a codebook, and where it lives: one for all, or blocks after a few levels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check
from drqfaiss._least_squares import blocks
from drqfaiss._least_squares.model import Model
from drqfaiss._least_squares.options import (
    MOST_CODEWORDS,
    QUALITIES,
    Quality,
    TrainingOptions,
    require_vectors,
)
from drqfaiss._least_squares.residual import train_residual
from drqfaiss._least_squares.train import inlying, prepare, sample
from drqfaiss._least_squares.train import train as train_shared

SHORT = 8  # levels of a code up to which all of them live in all dimensions
LONGEST_SHARED = 16  # levels in all dimensions; beyond, these gain less than levels on blocks
GLOBAL_LEVELS = (0, 2, 4, 6, 8, 12, 16)  # to choose from
MOST_OWN = 2048  # codewords of levels' own codebooks: least squares take the cube of their number
ENOUGH = 4  # vectors for each of these
FEW = 48  # vectors a codeword that count, below which least squares may fit them too well
FEWEST, UNEVEN = 16, 0.25  # the same, below which they do so if less than this share of all count
NEXT_BEST = 0.01  # how much less error, in its logarithm, a layout with more codebooks has to leave over
SURER = 0.03  # what a level after another gets in advance: it is fitted to the held-out vectors least
DIMENSIONS_PER_BIT = 2  # of a block: 16 for codebooks of 256 codewords
DRAFT = QUALITIES["fast"]  # of the levels in all dimensions
MEASURED, UNREACHABLE = 4096, 0.5  # vectors, and a share of the error: see `warn_of_unreachable`
SHORTEST = 4  # levels of a prefix that counts in the choice


_for_many: ContextVar[bool] = ContextVar("_for_many", default=False)


@contextmanager
def draft_for_many() -> Iterator[None]:
    """Choose layouts as if there were many vectors, in this thread and within this context.

    What is trained here is to be trained again with more vectors. Few of them get no careful drafts then,
    which take several times as long as the training, to find out what does not hold for many.
    """
    before = _for_many.set(True)
    try:
        yield
    finally:
        _for_many.reset(before)


class Layout(NamedTuple):
    """Which levels share a codebook, and where it lives."""

    global_levels: int  # levels in all dimensions
    block_size: int  # dimensions of a block for the others; 0: there are none
    own_levels: int  # of the levels in all dimensions, the first so many have a codebook each
    least_squares: bool = True  # or one level after another, see `residual`

    @property
    def cost(self) -> tuple[int, bool]:
        """What to have less of where errors are alike: codebooks in all dimensions, and no joint fit."""
        return self.own_levels, not self.least_squares


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
    options = options.with_own(layout.own_levels)
    if layout.global_levels < levels:
        require_vectors(len(x), bits)
        return blocks.train_blocks(x, levels, bits, layout.global_levels, layout.block_size, options)
    if not layout.least_squares:
        return train_residual(x, levels, bits, options)
    model = train_shared(x, levels, bits, options)
    if options.scale != "vector":
        warn_of_unreachable(sample(x, MEASURED, np.random.default_rng(options.seed)), model)
    return model


def choose(x: np.ndarray, levels: int, bits: int, options: TrainingOptions) -> Layout:
    """Return the layout to train; where options leave a choice, by drafts on a part of x."""
    d, block_size = x.shape[1], options.block_size or DIMENSIONS_PER_BIT * bits
    if options.layout == "shared":
        return Layout(levels, 0, options.own or 0)
    if options.layout == "blocks":
        if options.scale == "vector":
            raise ValueError('scale: got "vector" for blocks, expected "level" or "geometric"')
        if block_size > d:
            raise ValueError(f"block_size: got {block_size}, expected at most the {d} dimensions")
        if options.global_levels is not None:
            _check.integer("global_levels", options.global_levels, 0, levels - 1)
            own = int(options.global_levels > 1) if options.own is None else options.own
            return Layout(options.global_levels, block_size, own)
        return best(x, levels, bits, block_size, options)
    if len(x) < 2**bits or levels == 1:
        return Layout(levels, 0, options.own or 0)
    if levels > SHORT and options.scale != "vector" and d >= 2 * block_size:
        return best(x, levels, bits, block_size, options)
    countable = levels * 2**bits <= MOST_CODEWORDS  # Others are refused where they are trained.
    if countable and options.own is None and options.scale == "level":
        return best(x, levels, bits, 0, options)
    return Layout(levels, 0, options.own or 0)


def best(x: np.ndarray, levels: int, bits: int, block_size: int, options: TrainingOptions) -> Layout:
    """Return the layout with the least errors to expect, on average of their logarithms, at several lengths.

    Of layouts that are nearly alike the one with the fewest codebooks is taken. Where few vectors count,
    least squares may fit them too well. Then drafts train with all the work that they would, and a codebook
    for every level, trained one after another, is a choice; it is taken at once where only a few long
    vectors count, because a part of these says nothing about the others.
    No blocks are meant by a `block_size` of 0.
    """
    rng = np.random.default_rng(options.seed)
    usual = prepare(x, max(DRAFT.max_vectors, 2**bits), rotate=False, rng=rng)[0]
    counting = vectors_that_count(usual)
    short = block_size == 0 or levels <= LONGEST_SHARED
    free = short and options.layout == "auto" and options.scale == "level"
    free = free and options.own is None and options.prefix_weights is None
    one_by_one = Layout(levels, 0, levels, least_squares=False)
    if free and counting < min(FEWEST * 2**bits, UNEVEN * len(usual)):
        return one_by_one
    fit, held_out = blocks.split(usual, 2**bits, options.seed)
    careful = free and counting < FEW * 2**bits and not _for_many.get()
    work = options.work if careful else DRAFT
    drafts = expected_errors(fit, held_out, levels, bits, block_size, work, options)
    if careful:
        likely = min(drafts, key=lambda layout: score(drafts[layout], levels))
        if likely.global_levels < levels:  # What is expected of blocks holds for many vectors.
            drafts = {layout: errors for layout, errors in drafts.items() if layout.global_levels == levels}
            drafting = draft_options(levels, likely.own_levels, work, options)
            model = blocks.train_blocks(fit, levels, bits, likely.global_levels, block_size, drafting)
            drafts[likely] = blocks.prefix_errors(model, held_out, blocks.MEASURING_BEAM)
        model = train_residual(fit, levels, bits, options)
        drafts[one_by_one] = blocks.prefix_errors(model, held_out, blocks.MEASURING_BEAM)
        most = drafts[one_by_one][levels]
        drafts = {layout: errors for layout, errors in drafts.items() if errors[levels] <= most}
    scores = {layout: score(errors, levels) for layout, errors in drafts.items()}
    if careful:
        scores[one_by_one] -= SURER
    alike = [layout for layout, value in scores.items() if value <= min(scores.values()) + NEXT_BEST]
    return min(alike, key=lambda layout: (layout.cost, scores[layout]))


def expected_errors(
    fit: np.ndarray,
    held_out: np.ndarray,
    levels: int,
    bits: int,
    block_size: int,
    work: Quality,
    options: TrainingOptions,
) -> dict[Layout, list[float]]:
    """Return the errors to expect after 0, 1, … levels of every layout that may be chosen.

    One draft of the levels in all dimensions serves for all numbers of them, because its prefixes are drafts
    of fewer levels; what levels on blocks do to the rest is known beforehand.
    """
    most = min(levels, LONGEST_SHARED) if block_size else levels
    drafts: dict[Layout, list[float]] = {}
    for own in own_choices(len(fit), levels, most, bits, options):
        whole = blocks.fitted(fit, held_out, most, bits, draft_options(most, own, work, options))
        for count in GLOBAL_LEVELS if block_size else ():
            layout = Layout(count, block_size, min(own, count))
            if layout not in drafts and count <= max(levels - SHORTEST, 0):
                left = blocks.residuals(held_out, whole.model, count, blocks.MEASURING_BEAM)
                errors = whole.errors[: count + 1] + errors_on_blocks(left, levels - count, bits, block_size)
                drafts[layout] = errors
        if most == levels and options.layout == "auto":
            drafts[Layout(levels, 0, own)] = whole.errors
    return drafts


def own_choices(n: int, levels: int, most: int, bits: int, options: TrainingOptions) -> list[int]:
    """Return how many first levels may have codebooks of their own, fitted by least squares to n vectors."""
    if options.own is not None:
        return [options.own]
    counts = (0, 1, levels) if levels == most else (1, 4)
    own_codewords = min(MOST_OWN, n // ENOUGH)
    return sorted({own for own in counts if own < 2 or (own <= most and own * 2**bits <= own_codewords)})


def draft_options(levels: int, own: int, work: Quality, options: TrainingOptions) -> TrainingOptions:
    """Return how a draft of so many levels trains: with so much work, and so that its prefixes are good."""
    weights = {level: float(level) for level in range(1, levels + 1)}
    return replace(
        options.with_own(own),
        iterations=work.iterations,
        beam=work.beam,
        prefix_weights=weights,
        progress=False,
    )


def vectors_that_count(x: np.ndarray) -> float:
    """Return how many of centred vectors count: (Σ ‖x‖²)² / Σ ‖x‖⁴, all of them if all are as long."""
    squares = np.square(x, dtype=np.float64).sum(1)
    return float(squares.sum() ** 2 / max(np.square(squares).sum(), 1e-300))


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
    x = x[inlying(x - model.mean)]
    unreachable = float(np.linalg.eigvalsh(np.cov(x.T, bias=True))[: d - reached].sum())
    error = blocks.prefix_errors(model, x, blocks.MEASURING_BEAM)[-1]
    if unreachable > UNREACHABLE * error:
        warnings.warn(
            f"{len(model.groups)} codebook(s) of {K} codewords reach {reached} of {d} dimensions: the "
            f"others hold {unreachable / error:.0%} of the error of a code, which more levels do not lower. "
            'Blocks reach all of them (layout="blocks"), so do more bits a level or scale="vector"',
            stacklevel=2,
        )


def score(errors: Sequence[float], levels: int) -> float:
    """Return the mean logarithm of the errors after all levels, half of them, a quarter and so on."""
    lengths = [levels >> halvings for halvings in range(levels.bit_length())]
    counted = [length for length in lengths if length >= SHORTEST] or [levels]
    return float(np.mean([math.log(max(errors[length], 1e-30)) for length in counted]))
