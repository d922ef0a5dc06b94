"""The residual quantizer indexes inside FAISS indexes: where they are, and their Python class."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import TypeAlias

import faiss

from drqfaiss._indexes.engines import engine_of
from drqfaiss._indexes.flat import IndexDRQ
from drqfaiss._indexes.ivf import IndexIVFDRQ

ResidualQuantizerIndex: TypeAlias = faiss.IndexResidualQuantizer | faiss.IndexIVFResidualQuantizer
_CLASSES = {faiss.IndexResidualQuantizer: IndexDRQ, faiss.IndexIVFResidualQuantizer: IndexIVFDRQ}


def as_drq(index: faiss.Index) -> faiss.Index:
    """Give an adopted index its Python class; containers and other indexes are returned as they are."""
    if type(index) in (faiss.Index, faiss.IndexIVF):  # FAISS returns what is in other indexes like this.
        owner, index = index, faiss.downcast_index(index)
        index.referenced_objects = [owner]
    if type(index) in _CLASSES and engine_of(index).is_adopted(index):
        index.__class__ = _CLASSES[type(index)]
    return index


def residual_quantizers(index: faiss.Index) -> Iterator[ResidualQuantizerIndex]:
    """Yield the residual quantizer indexes in an index, itself included, always in the same order."""
    return (part for part in indexes_in(index) if isinstance(part, ResidualQuantizerIndex))


def indexes_in(index: faiss.Index, *, searched: bool = False) -> Iterator[faiss.Index]:
    """Yield an index and all that are in it, always in the same order.

    With ``searched`` only those that a search goes through with its settings: not what graphs are over, nor
    coarse quantizers.
    """
    if not isinstance(index, ResidualQuantizerIndex):  # The object given may know more than a new one.
        cast = faiss.downcast_index(index)
        index = index if type(cast) is faiss.Index else cast  # FAISS does not know all of its classes here.
    yield index
    for child in _children(index, _PARTS if searched else _PARTS + _INNER_PARTS):
        yield from indexes_in(child, searched=searched)


# The attributes of FAISS's classes that hold an index which searches go through, and those that hold another.
_PARTS: tuple[tuple[str, str], ...] = (
    ("IndexIDMap", "index"),
    ("IndexPreTransform", "index"),
    ("IndexRowwiseMinMaxBase", "index"),
    ("IndexRefine", "base_index"),
    ("IndexRefine", "refine_index"),
    ("IndexIVFIndependentQuantizer", "index_ivf"),
)
_INNER_PARTS: tuple[tuple[str, str], ...] = (
    ("IndexHNSW", "storage"),
    ("IndexNSG", "storage"),
    ("IndexNNDescent", "storage"),
    ("IndexIVF", "quantizer"),
    ("IndexIVFIndependentQuantizer", "quantizer"),
    ("Index2Layer", "q1.quantizer"),
)


def _children(index: faiss.Index, parts: tuple[tuple[str, str], ...]) -> list[faiss.Index]:
    found = [
        attrgetter(attribute)(index)
        for name, attribute in parts
        if isinstance(index, getattr(faiss, name, ()))
    ]
    if isinstance(index, faiss.IndexShards | faiss.IndexReplicas):
        found += [index.at(i) for i in range(index.count())]
    return [child for child in found if child is not None]
