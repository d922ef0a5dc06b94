"""``adopt`` and what finds, copies and types the residual quantizer indexes inside FAISS indexes."""

from collections.abc import Iterator
from typing import TypeAlias

import faiss

from drqfaiss import _check as check
from drqfaiss._engines import engine_of
from drqfaiss.index import IndexDRQ
from drqfaiss.ivf_index import IndexIVFDRQ
from drqfaiss.training.options import set_training

ResidualQuantizerIndex: TypeAlias = faiss.IndexResidualQuantizer | faiss.IndexIVFResidualQuantizer
_CLASSES = {faiss.IndexResidualQuantizer: IndexDRQ, faiss.IndexIVFResidualQuantizer: IndexIVFDRQ}


def adopt(index: faiss.Index) -> faiss.Index:
    """Make every residual quantizer index in ``index`` an IndexDRQ or IndexIVFDRQ, in place, and return it.

    Stock indexes search faster and with ``levels`` from then on; they keep FAISS's trainer. Indexes inside
    IndexIDMap, IndexPreTransform, IndexRefine, IndexShards and IndexReplicas are found. Adopting again is
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


def residual_quantizers(index: faiss.Index) -> Iterator[ResidualQuantizerIndex]:
    """Yield the residual quantizer indexes in an index, itself included, always in the same order."""
    index = faiss.downcast_index(index)
    if isinstance(index, ResidualQuantizerIndex):
        yield index
    for child in _children(index):
        yield from residual_quantizers(child)


def _children(index: faiss.Index) -> list[faiss.Index]:
    if isinstance(index, faiss.IndexIDMap | faiss.IndexPreTransform):
        children = [index.index]
    elif isinstance(index, faiss.IndexRefine):
        children = [index.base_index, index.refine_index]
    elif isinstance(index, faiss.IndexShards | faiss.IndexReplicas):
        children = [index.at(i) for i in range(index.count())]
    else:
        children = []
    return [child for child in children if child is not None]


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
