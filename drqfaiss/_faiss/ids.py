"""Ids that indexes hold of their own, rather than counting their vectors."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray


def keeps_ids(index: faiss.Index) -> bool:
    """Return whether an index holds ids of its own, rather than counting its vectors."""
    return isinstance(index, faiss.IndexIDMap) or faiss.try_extract_index_ivf(index) is not None


def ids_in(index: faiss.Index) -> NDArray[np.int64]:
    """Return the ids that an index holds."""
    if isinstance(index, faiss.IndexIDMap):
        return faiss.vector_to_array(index.id_map)
    ivf = faiss.extract_index_ivf(index)
    lists = faiss.downcast_InvertedLists(ivf.invlists)
    sizes = [lists.list_size(i) for i in range(ivf.nlist)]
    held = [faiss.rev_swig_ptr(lists.get_ids(i), size).copy() for i, size in enumerate(sizes) if size]
    return np.concatenate([np.empty(0, np.int64), *held])


def add_vectors(index: faiss.Index, x: np.ndarray, ids: NDArray[np.int64] | None) -> None:
    """Add vectors (n, d), by ids (n,) of their own or, without them, as the index numbers them."""
    if ids is None:
        index.add(x)
    else:
        index.add_with_ids(x, ids)
