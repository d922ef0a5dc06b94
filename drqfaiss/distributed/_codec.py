"""What encodes in an index, as a digest: shards belong together if theirs are the same."""

from __future__ import annotations

import hashlib

import faiss
import numpy as np

from drqfaiss._indexes.nested import indexes_in

# Where FAISS's classes keep what they have learnt.
LEARNT = (("rq", "codebooks"), ("rq", "nbits"), ("pq", "centroids"), ("sq", "trained"))


def codec_digest(index: faiss.Index) -> str:
    """Return a digest of all that codes and distances depend on, whatever vectors are in the index."""
    content = hashlib.sha256(f"{index.d} {index.metric_type}".encode())
    for part in indexes_in(index, searched=True):
        if isinstance(part, faiss.IndexIDMap):
            continue  # It only names vectors.
        content.update(_kind(part).encode())
        for owner, name in LEARNT:
            if hasattr(part, owner):
                content.update(faiss.vector_to_array(getattr(getattr(part, owner), name)).data)
        if isinstance(part, faiss.IndexIVF):
            content.update(f"{part.nlist} {part.by_residual}".encode())
            content.update(_bytes(faiss.serialize_index(part.quantizer)))
        if isinstance(part, faiss.IndexPreTransform):
            for i in range(part.chain.size()):
                content.update(_transform(faiss.downcast_VectorTransform(part.chain.at(i))))
    return content.hexdigest()


def _kind(index: faiss.Index) -> str:
    """Return FAISS's name of the class, also of ours."""
    of_faiss = (kind.__name__ for kind in type(index).__mro__ if kind.__module__.startswith("faiss"))
    return next(of_faiss, type(index).__name__)


def _transform(transform: faiss.VectorTransform) -> bytes:
    writer = faiss.VectorIOWriter()
    faiss.write_VectorTransform(transform, writer)
    return _bytes(faiss.vector_to_array(writer.data))


def _bytes(array: np.ndarray) -> bytes:
    return array.tobytes()
