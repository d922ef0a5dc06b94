"""What indexes and engines hand each other: arrays, checked already, by their purpose."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Codes = NDArray[np.uint8]
Ranges = tuple[NDArray[np.uint64], Floats, Ids]
Parameters: TypeAlias = faiss.SearchParameters | None


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
