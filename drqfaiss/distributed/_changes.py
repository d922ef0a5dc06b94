"""Changes of a shard's index: the same on every replica, and again after one is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss._faiss.ids import add_vectors
from drqfaiss.distributed._query import Chosen, selector


class Change(Protocol):
    """Something that is done to an index, the same on every replica of a shard."""

    def apply(self, index: faiss.Index) -> int:
        """Change an index; return how many vectors were added or removed."""


@dataclass(frozen=True)
class Added:
    """Vectors that were added, with their ids where the index holds any."""

    vectors: NDArray[np.float32]
    ids: NDArray[np.int64] | None

    def apply(self, index: faiss.Index) -> int:
        """Add them."""
        add_vectors(index, self.vectors, self.ids)
        return len(self.vectors)


@dataclass(frozen=True)
class Removed:
    """Vectors that were removed, by the index's own ids."""

    ids: Chosen

    def apply(self, index: faiss.Index) -> int:
        """Remove those that are there."""
        return index.remove_ids(selector(self.ids, 0))
