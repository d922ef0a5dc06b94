"""What training returns: groups of levels, their scales, and the space they live in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, eq=False)
class Group:
    """Levels that share a codebook, and the dimensions of the rotated space that it lives on.

    Attributes:
        codebook: array (K, B), float32. K a power of two from 2 to 65536.
        start: The first of the B dimensions, which follow each other.
    """

    codebook: np.ndarray
    start: int = 0

    @property
    def bits(self) -> int:
        """Bits per level, log2 of the codewords."""
        return len(self.codebook).bit_length() - 1

    @property
    def dimensions(self) -> slice:
        """Where in the rotated space the codebook lives."""
        return slice(self.start, self.start + self.codebook.shape[1])


class Model(NamedTuple):
    """The trained parts, as `Quantizer.from_groups` takes them."""

    groups: tuple[Group, ...]
    level_groups: np.ndarray  # (M,) the group of every level
    scales: np.ndarray  # (M,) or (M, d) float32
    mean: np.ndarray  # (d,) float32
    rotation: np.ndarray | None  # (d, d) float32
