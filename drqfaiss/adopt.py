"""``adopt`` and what finds, copies and types the residual quantizer indexes inside FAISS indexes."""

from collections.abc import Iterator
from operator import attrgetter
from typing import TypeAlias

import faiss

from drqfaiss import _check as check
from drqfaiss._engines import engine_of
from drqfaiss._indexes.training import set_training
from drqfaiss.index import IndexDRQ
from drqfaiss.ivf_index import IndexIVFDRQ

ResidualQuantizerIndex: TypeAlias = faiss.IndexResidualQuantizer | faiss.IndexIVFResidualQuantizer
_CLASSES = {faiss.IndexResidualQuantizer: IndexDRQ, faiss.IndexIVFResidualQuantizer: IndexIVFDRQ}


def adopt(index: faiss.Index) -> faiss.Index:
    """Make every residual quantizer index in ``index`` an IndexDRQ or IndexIVFDRQ, in place, and return it.

    Stock indexes search faster and with ``levels`` from then on; they keep FAISS's trainer. Indexes inside
    others are found: in maps, transforms, refinement, shards and replicas, and those that graphs are over or
    inverted lists take as coarse quantizer. Adopting again is
    harmless and drops what was cached about the codes, which is how to tell an index that its memory was
    written to directly.

    Raises:
        TypeError: If there is no residual quantizer index in it.
        ValueError: If one has a metric or code shape that cannot be searched. Nothing is adopted then.
    """
    check.instance("index", index, faiss.Index)
    found = list(residual_quantizers(index))
    if not found:
        raise TypeError(
            f"index: {type(index).__name__} holds no residual quantizer index that can be adopted"
        )
    if reason := why_not(*found):
        raise ValueError(f"index: cannot adopt a residual quantizer index: {reason}")
    for quantizer in found:
        engine_of(quantizer).adopt(quantizer)
    return as_drq(index)


def why_not(*quantizers: ResidualQuantizerIndex) -> str:
    """Return why the first that cannot be adopted cannot be; empty if all can."""
    return next(filter(None, (engine_of(quantizer).why_not(quantizer) for quantizer in quantizers)), "")


def as_drq(index: faiss.Index) -> faiss.Index:
    """Give an adopted index its Python class; containers and other indexes are returned as they are."""
    if type(index) in (faiss.Index, faiss.IndexIVF):  # FAISS returns what is in other indexes like this
        owner, index = index, faiss.downcast_index(index)
        index.referenced_objects = [owner]
    if type(index) in _CLASSES and engine_of(index).is_adopted(index):
        index.__class__ = _CLASSES[type(index)]
    return index


def residual_quantizers(index: faiss.Index, *, searched: bool = False) -> Iterator[ResidualQuantizerIndex]:
    """Yield the residual quantizer indexes in an index, itself included, always in the same order.

    With ``searched`` only those that a search hands its ``levels`` to: not what graphs are over, nor coarse
    quantizers.
    """
    if not isinstance(index, ResidualQuantizerIndex):  # the object given may know more than a new one
        cast = faiss.downcast_index(index)
        index = index if type(cast) is faiss.Index else cast  # it does not know all classes
    if isinstance(index, ResidualQuantizerIndex):
        yield index
    for child in _children(index, _PARTS if searched else _PARTS + _INNER_PARTS):
        yield from residual_quantizers(child, searched=searched)


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


def adopt_all(index: faiss.Index) -> faiss.Index:
    """As ``adopt``, but residual quantizer indexes that cannot be adopted, or none at all, are no error."""
    for quantizer in residual_quantizers(index):
        if not why_not(quantizer):
            engine_of(quantizer).adopt(quantizer)
    return as_drq(index)


def clone_index(index: faiss.Index) -> faiss.Index:
    """Return a copy as ``faiss.clone_index`` makes it, keeping the class and options of each DRQ index."""
    check.instance("index", index, faiss.Index)
    return adopt_clone(index, faiss.clone_index(index))


def adopt_clone(index: faiss.Index, clone: faiss.Index) -> faiss.Index:
    """Give a copy that FAISS made of ``index`` what FAISS does not copy, and return it."""
    for old, new in zip(residual_quantizers(index), residual_quantizers(clone), strict=True):
        engine = engine_of(old)
        if engine.is_adopted(old):
            engine.adopt(new)
            engine.set_levels(new, engine.levels(old))
            set_training(new, engine.training(old))
    as_drq(clone)
    if isinstance(index, IndexDRQ | IndexIVFDRQ):
        clone.__class__ = type(index)
    return clone
