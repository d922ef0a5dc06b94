"""What training may be asked for, and how much work each quality puts in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drqfaiss import _check
from drqfaiss._least_squares.prefixes import check_prefix_weights

SCALES = ("geometric", "level", "vector")
# Rounds of encoding and solving, beam in training, vectors used, beam of the index that encodes with it.
QUALITIES = {
    "fast": {"iterations": 8, "beam": 2, "max_vectors": 16_384, "encoding_beam": 4},
    "default": {"iterations": 20, "beam": 5, "max_vectors": 65_536, "encoding_beam": 8},
    "best": {"iterations": 40, "beam": 16, "max_vectors": 262_144, "encoding_beam": 32},
}
MAX_COUNT_BYTES = 2**31


def check_options(levels: int, bits: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of `least_squares.train`, of which any may be missing, with numbers as Python's own.

    Raises:
        TypeError, ValueError: Naming the first that is out of range.
    """
    levels, bits = _check.integer("levels", levels, 1), _check.integer("bits", bits, 1, 16)
    checked = dict(options)
    for name, known in {"scale": SCALES, "quality": tuple(QUALITIES)}.items():
        if checked.get(name, known[0]) not in known:
            raise ValueError(
                f"{name}: got {_check.shown(checked[name])}, expected one of {', '.join(map(repr, known))}"
            )
    if not isinstance(checked.get("own_first", False), bool):
        raise TypeError(f"own_first: got {_check.shown(checked['own_first'])}, expected True or False")
    if "prefix_weights" in checked:
        checked["prefix_weights"] = check_prefix_weights(levels, checked["prefix_weights"])
    ranges = {"iterations": (1,), "beam": (1, 2**31 - 1), "seed": (0, 2**31 - 1), "max_vectors": (2**bits,)}
    for name in ranges.keys() & checked.keys():
        checked[name] = _check.integer(name, checked[name], *ranges[name])
    return checked


def check_size(levels: int, bits: int) -> None:
    """Raise ValueError if the counts of codeword pairs would take too much memory."""
    codewords, most = levels * 2**bits, int((MAX_COUNT_BYTES / 4) ** 0.5)
    if codewords > most:
        raise ValueError(
            f"levels * 2**bits: {levels} * {2**bits} = {codewords}, expected at most {most} in training"
        )
