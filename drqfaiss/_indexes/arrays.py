"""What indexes and engines hand each other: arrays, checked already, by their purpose."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Codes = NDArray[np.uint8]
Ranges = tuple[NDArray[np.uint64], Floats, Ids]
Codebooks: TypeAlias = ArrayLike | list[NDArray[np.float32]]  # (M, K, d), or (K, d) of every level
Parameters: TypeAlias = faiss.SearchParameters | None


class Depth(NamedTuple):
    """How many levels of codes searches look at; 0 leaves it to what is next in line."""

    levels: int = 0  # that are scanned; 0 in the end: all
    refine_levels: int = 0  # that the nearest are ranked by; 0 in the end: all
    refine_factor: int = 0  # how many times as many as results are ranked; 0 in the end: none

    def or_else(self, other: Depth) -> Depth:
        """Return this where it says something, else the other."""
        return Depth(*(own or others for own, others in zip(self, other, strict=True)))

    def check(self, hot: int, most: int) -> None:
        """Require that codes of ``most`` levels, the first ``hot`` of them in memory, can be searched so.

        Raises:
            ValueError: more levels than there are, or a ranking by fewer than are scanned.
        """
        for name, there in (("levels", hot), ("refine_levels", most)):
            if getattr(self, name) > there:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 0 (all) to {there}")
        scanned = self.levels or hot
        if self.refine_factor and (self.refine_levels or most) < scanned:
            raise ValueError(
                f"refine_levels: got {self.refine_levels}, expected at least the {scanned} levels that are "
                "scanned"
            )


class Query(NamedTuple):
    """What is searched for: the k nearest to each of n vectors."""

    x: Floats  # (n, d)
    k: int
    params: Parameters


class Nearest(NamedTuple):
    """Where results are written to."""

    distances: Floats  # (n, k)
    ids: Ids  # (n, k)


class Probes(NamedTuple):
    """The lists that each query looks into, and what its centroids are away; list −1 is none."""

    keys: Ids  # (n, nprobe)
    distances: Floats  # (n, nprobe)
