"""Bytes that an index takes in memory and in a file, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import faiss

from drqfaiss._indexes.base import stored_table_bytes
from drqfaiss._planning.shape import Shape
from drqfaiss.quantizer import Quantizer

FLOAT, ID = 4, 8
BITS = 8  # of a level
# Parts that are in memory only: caches of searches, and what FAISS computes when it reads a file.
NOT_IN_FILES = ("norms", "products of codewords", "copy for searches")


@dataclass(frozen=True)
class Footprint:
    """What n vectors take.

    Attributes:
        n: vectors.
        per_vector: bytes of one, by their names.
        fixed: bytes whatever n is, by their names.
    """

    n: int
    per_vector: dict[str, int]
    fixed: dict[str, int]

    @property
    def memory(self) -> int:
        """Bytes in memory of an index that was read from a file and searched."""
        return self.n * sum(self.per_vector.values()) + sum(self.fixed.values())

    @property
    def file(self) -> int:
        """Bytes of the file."""
        kept = [_stored(part) for part in (self.per_vector, self.fixed)]
        return self.n * kept[0] + kept[1]

    def arithmetic(self) -> Iterator[str]:
        """Yield one line for each part."""
        for name, size in self.per_vector.items():
            yield f"{name}: {self.n:,} x {size} = {self.n * size:,}"
        for name, size in self.fixed.items():
            yield f"{name}: {size:,}"


def _stored(parts: dict[str, int]) -> int:
    return sum(size for name, size in parts.items() if name not in NOT_IN_FILES)


def footprint(shape: Shape, n: int, d: int, metric: int, copy: int | None = None) -> Footprint:
    """Return what an index takes.

    Args:
        shape: of the index.
        n: vectors.
        d: dimensions of the vectors that go in.
        metric: FAISS's number.
        copy: bytes of the codebooks that searches use, see `copy_for_searches`; None: the most there can be.
    """
    kept = shape.kept or d
    book = 2**BITS * kept * FLOAT
    per_vector = {"codes": shape.levels}
    fixed = {"codebooks": shape.levels * book}
    if metric == faiss.METRIC_L2:
        per_vector["norms"] = FLOAT
    if shape.lists:
        per_vector["ids"] = ID
        fixed["centroids"] = shape.lists * kept * FLOAT
    if shape.copies:
        per_vector["copies"] = {"SQ8": d, "Flat": d * FLOAT}[shape.copies]
    if shape.kept:
        fixed["transform"] = ((shape.kept + d) * d + shape.kept + 2 * d) * FLOAT  # FAISS keeps all axes
    if products := stored_table_bytes([BITS] * shape.levels):
        fixed["products of codewords"] = products
    fixed["copy for searches"] = 2 * shape.levels * book if copy is None else copy
    return Footprint(n, per_vector, fixed)


def copy_for_searches(quantizer: Quantizer, levels: int, metric: int) -> int:
    """Return bytes of the codebooks of the first levels as searches use them: each once.

    They are stored by rows of all dimensions, and by columns of those that they live on; for norms of levels
    on blocks once more, in coordinates that a rotation gives them.
    """
    d = quantizer.d
    used = {int(g) for g in quantizer.level_groups[:levels]}
    books = [quantizer.groups[g].codebook.shape for g in used]
    floats = sum(K * (d + size) for K, size in books)
    if metric == faiss.METRIC_L2 and any(size < d for _, size in books):
        floats += sum(K * size for K, size in books) + d * d
    return floats * FLOAT
