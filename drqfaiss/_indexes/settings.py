"""Settings of searches by an index that may be inside others: levels and nprobe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import faiss

from drqfaiss import _check
from drqfaiss._indexes.base import LevelsIndex
from drqfaiss._indexes.engines import IN_FAISS, engine_of
from drqfaiss._indexes.nested import as_drq, residual_quantizers


def drq_indexes(index: faiss.Index) -> list[LevelsIndex]:
    """Return the indexes with ``levels`` in an index that drqfaiss built or read."""
    found = [as_drq(quantizer) for quantizer in residual_quantizers(index, searched=True)]
    return [quantizer for quantizer in found if isinstance(quantizer, LevelsIndex)]


def set_levels(index: faiss.Index, levels: int | None) -> None:
    """Search with so many levels from now on; None leaves them.

    Raises:
        ValueError: the index has no levels to choose, or fewer.
    """
    if levels is None:
        return
    found = drq_indexes(index)
    if not found:
        raise ValueError(f"levels: got {type(index).__name__}, expected an index with levels to choose")
    if found[0] is not index and any(engine_of(quantizer) is not IN_FAISS for quantizer in found):
        raise ValueError(
            f"levels: got {type(index).__name__}, expected no index around it: without the plug-in, what is "
            "inside others compares all levels"
        )
    for quantizer in found:
        quantizer.levels = levels


def set_nprobe(index: faiss.Index, nprobe: int | None) -> None:
    """Visit so many inverted lists from now on; None leaves the number.

    Raises:
        ValueError: the index has no inverted lists, or fewer.
    """
    if nprobe is None:
        return
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is None:
        raise ValueError(f"nprobe: got {type(index).__name__}, expected an index with inverted lists")
    ivf.nprobe = _check.integer("nprobe", nprobe, 1, ivf.nlist)


@contextmanager
def searched_with(index: faiss.Index, levels: int | None, nprobe: int | None) -> Iterator[None]:
    """Set levels and nprobe for a ``with`` block; None leaves them.

    Raises:
        ValueError: As `set_levels` and `set_nprobe`.
    """
    ivf = faiss.try_extract_index_ivf(index)
    before = [(quantizer, quantizer.levels) for quantizer in drq_indexes(index)]
    lists = None if ivf is None else ivf.nprobe
    try:
        set_levels(index, levels)
        set_nprobe(index, nprobe)
        yield
    finally:
        for quantizer, old in before:
            quantizer.levels = old
        if ivf is not None:
            ivf.nprobe = lists
