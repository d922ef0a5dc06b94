"""``clone_index``: copies that keep what FAISS does not copy."""

from __future__ import annotations

import faiss

from drqfaiss import _check
from drqfaiss._indexes.engines import engine_of, flat_engine
from drqfaiss._indexes.flat import IndexDRQ
from drqfaiss._indexes.ivf import IndexIVFDRQ
from drqfaiss._indexes.nested import as_drq, residual_quantizers
from drqfaiss._indexes.tail import is_head
from drqfaiss._indexes.training import set_training


def clone_index(index: faiss.Index) -> faiss.Index:
    """Return a copy as ``faiss.clone_index`` makes it, keeping the class and options of each DRQ index."""
    _check.instance("index", index, faiss.Index)
    return adopt_clone(index, faiss.clone_index(index))


def adopt_clone(index: faiss.Index, clone: faiss.Index) -> faiss.Index:
    """Give a copy that FAISS made of ``index`` what FAISS does not copy, and return it."""
    for old, new in zip(residual_quantizers(index), residual_quantizers(clone), strict=True):
        engine = engine_of(old)
        if engine.is_adopted(old):
            engine.adopt(new)
            engine.set_depth(new, engine.depth(old))
            set_training(new, engine.training(old))
            if is_head(old) and (tail := flat_engine().tail(old)) is not None:
                flat_engine().set_tail(new, tail)
    as_drq(clone)
    if isinstance(index, IndexDRQ | IndexIVFDRQ):
        clone.__class__ = type(index)
    return clone
