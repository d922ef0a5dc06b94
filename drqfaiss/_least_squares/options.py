"""What training may be asked for: arguments, command line, JSON and documentation all come from one class."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, NamedTuple, TypedDict

import numpy as np

from drqfaiss import _check
from drqfaiss._least_squares.prefixes import check_prefix_weights, require_weights

SCALES = ("geometric", "level", "vector")
LAYOUTS = ("auto", "shared", "blocks")
MAX_COUNT_BYTES = 2**31
MOST_CODEWORDS = int((MAX_COUNT_BYTES / 4) ** 0.5)  # of all levels: their pairs are counted in float32


def level_bits(levels: int, bits: int | Sequence[int], name: str = "bits") -> tuple[int, ...]:
    """Return the bits of every level from one number for all, or one for each, 1 to 16.

    Raises:
        TypeError, ValueError: Naming what was wrong: `levels`, or what `bits` is called.
    """
    levels = _check.integer("levels", levels, 1)
    if not isinstance(bits, Sequence | np.ndarray):
        return (_check.integer(name, bits, 1, 16),) * levels
    each = tuple(_check.integer(f"{name}[{m}]", own, 1, 16) for m, own in enumerate(bits))
    if len(each) != levels:
        raise ValueError(f"{name}: got {len(each)} numbers, expected one for each of {levels} levels")
    return each


def require_vectors(n: int, bits: int) -> None:
    """Raise ValueError if n vectors are too few to train levels of so many bits."""
    if n < 2**bits:
        raise ValueError(f"x: got {n} training vectors, expected at least the {2**bits} codewords of a level")


class Quality(NamedTuple):
    """How much work training and encoding put in."""

    iterations: int  # rounds of encoding and solving
    beam: int  # partial codes that the beam search keeps in training
    max_vectors: int  # training vectors that are used at most
    encoding_beam: int  # partial codes that an index keeps when it encodes what is added


QUALITIES = {
    "fast": Quality(iterations=8, beam=2, max_vectors=16_384, encoding_beam=4),
    "default": Quality(iterations=20, beam=5, max_vectors=65_536, encoding_beam=8),
    "best": Quality(iterations=40, beam=16, max_vectors=262_144, encoding_beam=32),
}


def _option(default: Any, says: str, check: Callable[[str, Any], Any], choices: tuple[str, ...] = ()) -> Any:
    """Return a field that says what it is in half a sentence, for the command line and the documentation."""
    return field(default=default, metadata={"says": says, "check": check, "choices": choices})


def _choice(default: str, says: str, choices: tuple[str, ...]) -> Any:
    return _option(default, says, partial(_check.one_of, allowed=choices), choices)


def _count(says: str, highest: int | None = None) -> Any:
    return _option(None, says, partial(_check.integer, lowest=1, highest=highest))


@dataclass(frozen=True)
class TrainingOptions:
    """How `IndexDRQ`, `IndexIVFDRQ` and `Quantizer.train` train; they take these options as arguments.

    An option that is None has its default.

    Attributes:
        layout: {"auto", "shared", "blocks"}. Which levels share a codebook: all; or after some levels in all
            dimensions, those of a block, that is a range of principal axes. "auto" takes what suits the
            vectors, by drafts on a part of them: all levels of codes up to 8 bytes, blocks for long ones.
        global_levels: Levels in all dimensions, before those on blocks; None: by drafts.
        block_size: Dimensions of a block; None: twice the bits of a level.
        scale: {"geometric", "level", "vector"}. One ratio for all levels (s_m = s^m), a scale per level, or a
            scale per level and dimension after a rotation: the most accurate, the slowest to train and
            encode.
        own_levels: How many of the first levels have a codebook each, K·d parameters more a level; the others
            share one. None: 0 with layout="shared", else by drafts.
        own_first: True is another way to say own_levels=1.
        prefix_weights: How much the error after the first L levels counts, {L: weight}, in training and when
            vectors are added. Lengths left out have weight 0; that of all levels is above 0. None chooses
            codes for the full length only, and weighs every length L by (L / levels)**4 in the codebooks.
        quality: {"fast", "default", "best"}. Time against accuracy: what `iterations`, `beam` and
            `max_vectors` are where they are None.
        iterations: Rounds of encoding and solving.
        beam: Width of the beam search, in training and in adding. An index keeps the width of adding as
            ``rq.max_beam_size``, where it may be changed later.
        seed: For the sample, the start and re-seeded codewords. The same seed, vectors and number of threads
            give the same bits.
        max_vectors: Of more training vectors than that, at least 2**bits, a random sample is used.
        progress: Whether to show a line on stderr, if that is a terminal.

    Raises:
        TypeError, ValueError: Naming the option and what was expected.
    """

    __module__ = "drqfaiss"  # Where users and pickles find it.

    layout: str = _choice("auto", "which levels share a codebook", LAYOUTS)
    global_levels: int | None = _option(
        None, "levels in all dimensions, before those on blocks", partial(_check.integer, lowest=0)
    )
    block_size: int | None = _count("dimensions of a block")
    scale: str = _choice("level", "how levels scale the codebook", SCALES)
    own_levels: int | None = _option(
        None, "how many first levels get a codebook each", partial(_check.integer, lowest=0)
    )
    own_first: bool = _option(False, "the first level gets a codebook of its own", _check.boolean)
    prefix_weights: Mapping[int, float] | None = _option(
        None, "how much the error after the first L levels counts", require_weights
    )
    quality: str = _choice("default", "how much work: time against accuracy", tuple(QUALITIES))
    iterations: int | None = _count("rounds of encoding and solving")
    beam: int | None = _count("partial codes that the beam search keeps", 2**31 - 1)
    max_vectors: int | None = _count("training vectors that are used at most")
    seed: int = _option(
        0,
        "the same seed, vectors and number of threads give the same codebook",
        partial(_check.integer, lowest=0, highest=2**31 - 1),
    )
    progress: bool = _option(True, "a line on stderr, if that is a terminal", lambda _, value: bool(value))

    def __post_init__(self) -> None:
        """Check every option, and keep numbers as Python's own."""
        for option in fields(self):
            value = getattr(self, option.name)
            checked = option.default if value is None else option.metadata["check"](option.name, value)
            object.__setattr__(self, option.name, checked)  # This is the way past a frozen dataclass.
        if self.own_first and self.own_levels not in (None, 1):
            raise ValueError(f"own_levels: got {self.own_levels} with own_first=True, expected 1")

    def for_shape(self, levels: int, bits: int) -> TrainingOptions:
        """Return these options, checked for codes of so many levels of so many bits.

        Raises:
            TypeError, ValueError: Naming the first that is out of range.
        """
        levels, bits = _check.integer("levels", levels, 1), _check.integer("bits", bits, 1, 16)
        if self.max_vectors is not None:
            _check.integer("max_vectors", self.max_vectors, 2**bits)
        if self.prefix_weights is None:
            return self
        return replace(self, prefix_weights=check_prefix_weights(levels, self.prefix_weights))

    @property
    def own(self) -> int | None:
        """How many of the first levels have codebooks of their own; None: not said."""
        if self.own_levels is None and (self.own_first or self.layout == "shared"):
            return int(self.own_first)
        return self.own_levels

    def with_own(self, levels: int) -> TrainingOptions:
        """Return these options with so many first levels that have codebooks of their own."""
        return replace(self, own_levels=levels, own_first=False)

    @property
    def work(self) -> Quality:
        """How much work to put in: that of the quality, with what was given in its place."""
        given = {
            "iterations": self.iterations,
            "beam": self.beam,
            "max_vectors": self.max_vectors,
            "encoding_beam": self.beam,
        }
        return QUALITIES[self.quality]._replace(**_not_none(given))

    def to_json(self) -> str:
        """Return the options that are not the default ones, for `from_json`."""
        values = {option: getattr(self, option.name) for option in fields(self)}
        return json.dumps({option.name: v for option, v in values.items() if v != option.default})

    @classmethod
    def from_json(cls, text: str) -> TrainingOptions:
        """Read what `to_json` returned."""
        given = json.loads(text)
        weights = given.get("prefix_weights")
        if weights is not None:  # JSON turned the keys into strings.
            given["prefix_weights"] = {int(levels): weight for levels, weight in weights.items()}
        return cls(**given)


class OtherTrainingArguments(TypedDict, total=False):
    """All but two fields of `TrainingOptions` as keyword arguments, for editors and type checkers."""

    layout: str
    global_levels: int | None
    block_size: int | None
    own_levels: int | None
    own_first: bool
    quality: str
    iterations: int | None
    beam: int | None
    max_vectors: int | None
    seed: int
    progress: bool


class TrainingArguments(OtherTrainingArguments, total=False):
    """All of them. A test holds them against the class, which cannot be written in terms of them."""

    scale: str
    prefix_weights: Mapping[int, float] | None


def _not_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def check_size(levels: int, bits: int) -> None:
    """Raise ValueError if the counts of codeword pairs would take too much memory."""
    codewords = levels * 2**bits
    if codewords > MOST_CODEWORDS:
        raise ValueError(
            f"levels * 2**bits: got {levels} * {2**bits} = {codewords}, expected at most {MOST_CODEWORDS} in "
            "training"
        )
