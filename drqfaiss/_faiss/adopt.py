"""``adopt``: stock residual quantizer indexes become ours, in place, wherever they are inside others."""

from __future__ import annotations

import faiss

from drqfaiss import _check
from drqfaiss._indexes.engines import engine_of
from drqfaiss._indexes.nested import ResidualQuantizerIndex, as_drq, residual_quantizers


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
    _check.instance("index", index, faiss.Index)
    found = list(residual_quantizers(index))
    if not found:
        raise TypeError(
            f"index: got {type(index).__name__} without a residual quantizer index, expected one to adopt"
        )
    if reason := why_not(*found):
        raise ValueError(f"index: cannot adopt a residual quantizer index: {reason}")
    for quantizer in found:
        engine_of(quantizer).adopt(quantizer)
    return as_drq(index)


def why_not(*quantizers: ResidualQuantizerIndex) -> str:
    """Return why the first that cannot be adopted cannot be; empty if all can."""
    return next(filter(None, (engine_of(quantizer).why_not(quantizer) for quantizer in quantizers)), "")


def adopt_all(index: faiss.Index) -> faiss.Index:
    """As ``adopt``, but residual quantizer indexes that cannot be adopted, or none at all, are no error."""
    for quantizer in residual_quantizers(index):
        if not why_not(quantizer):
            engine_of(quantizer).adopt(quantizer)
    return as_drq(index)
