"""The indexes that a plan chooses from."""

from __future__ import annotations

from math import log2
from typing import Any, NamedTuple

LENGTHS = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # levels of 8 bits, so bytes
OWN_FIRST_UP_TO = 16  # levels: for longer codes a first codebook of its own adds little
WIDE = 512  # dimensions from which half of them may do
LISTS_FROM = 200_000  # vectors: fewer are searched one and all
LISTS_PER_ROOT = 4  # inverted lists are about so many times the root of the vectors, as FAISS advises
K_FACTOR = 10  # times as many candidates as results are ranked by copies


class Shape(NamedTuple):
    """An index, and how it trains.

    Attributes:
        levels: of 8 bits.
        own_first: the first level has a codebook of its own.
        kept: dimensions that PCA leaves; 0: all.
        lists: inverted ones; 0: none.
        copies: of the vectors, that rank candidates again: "", "SQ8" or "Flat".
        quality: of the training.
    """

    levels: int
    own_first: bool = False
    kept: int = 0
    lists: int = 0
    copies: str = ""
    quality: str = "default"

    @property
    def description(self) -> str:
        """What `index_factory` takes."""
        parts = [f"PCA{self.kept}"] * bool(self.kept) + [f"IVF{self.lists}"] * bool(self.lists)
        copies = {"": [], "SQ8": ["Refine(SQ8)"], "Flat": ["RFlat"]}[self.copies]
        return ",".join([*parts, f"DRQ{self.levels}x8", *copies])

    @property
    def training(self) -> dict[str, Any]:
        """Options of training that are not the defaults."""
        chosen = {"own_first": True} if self.own_first else {}
        return chosen if self.quality == "default" else {**chosen, "quality": self.quality}


def lengths(d: int) -> list[int]:
    """Return levels that codes of d dimensions may have: no more bytes than one a dimension."""
    return [levels for levels in LENGTHS if levels <= d] or [1]


def lists_for(n: int) -> int:
    """Return how many inverted lists suit n vectors, a power of two; 0: none."""
    return 0 if n < LISTS_FROM else 1 << round(log2(LISTS_PER_ROOT * n**0.5))


def lists_in_sample(lists: int, n: int, sample: int) -> int:
    """Return how many lists stand for those of n vectors where a sample is indexed."""
    return 1 << max(0, round(log2(lists * (sample / n) ** 0.5))) if lists else 0


def variants(plain: Shape, d: int) -> list[Shape]:
    """Return the indexes of a length that are tried, the simplest first."""
    found = [plain]
    if 1 < plain.levels <= OWN_FIRST_UP_TO:
        found.append(plain._replace(own_first=True))
    if d >= WIDE:
        found.append(plain._replace(kept=d // 2))
    return found
