"""The work of a flat index without the plug-in: FAISS keeps the codes, Python hands them to the core.

It searches as fast as inside FAISS.
"""

from __future__ import annotations

import faiss
import numpy as np

from drqfaiss._core import StoredTail
from drqfaiss._indexes.array_work import (
    ArraySearch,
    append_codes,
    depth_of,
    encode,
    is_l2,
    levels_of,
    mask_of,
    quantizer_of,
    state_of,
    train_quantizer,
)
from drqfaiss._indexes.arrays import Codes, Floats, Ids, Nearest, Parameters, Query, Ranges


class FlatArraySearch(ArraySearch):
    """For a faiss.IndexResidualQuantizer, see `engines.Engine`."""

    def train(self, index: faiss.Index, x: Floats) -> None:
        if self.training(index):
            train_quantizer(index, x)
        else:
            index.train_c(len(x), faiss.swig_ptr(x))

    def sa_encode(self, index: faiss.Index, x: Floats, codes: Codes) -> None:
        encode(index, x, codes)

    def add(self, index: faiss.Index, x: Floats, ids: Ids | None) -> None:
        codes = np.empty((len(x), index.sa_code_size()), np.uint8)
        all_levels = encode(index, x, codes)
        # Rows of the tail that the index has no vectors for do not count.
        state_of(index).core.append_to_tail(index.ntotal, all_levels)
        append_codes(index, codes, ids)

    def search(self, index: faiss.Index, query: Query, nearest: Nearest) -> None:
        x, k, params = query
        codes = _flat_codes(index)
        (levels, *refinement), mask = depth_of(index, params), mask_of(params, np.arange(len(codes)))
        core = state_of(index).core
        nearest.distances[:], nearest.ids[:] = core.search(
            *quantizer_of(index), codes, x, k, levels, is_l2(index), mask, *refinement
        )

    def range_search(self, index: faiss.Index, x: Floats, radius: float, params: Parameters) -> Ranges:
        codes = _flat_codes(index)
        levels, mask = levels_of(index, params), mask_of(params, np.arange(len(codes)))
        core = state_of(index).core
        return core.range_search(*quantizer_of(index), codes, x, radius, levels, is_l2(index), mask)

    def search_and_reconstruct(
        self, index: faiss.Index, query: Query, nearest: Nearest, vectors: Floats
    ) -> None:
        self.search(index, query, nearest)
        found = nearest.ids >= 0
        vectors[~found] = np.nan
        rows = nearest.ids[found]
        decoded = index.rq.decode(_flat_codes(index)[rows])
        self.complete(index, rows, decoded)
        vectors[found] = decoded

    def pack(self, index: faiss.Index, levels: int) -> int:
        quantizer, codes = quantizer_of(index), _flat_codes(index)
        return state_of(index).core.pack(*quantizer, codes, index.d, is_l2(index), levels)

    def unpack(self, index: faiss.Index) -> None:
        state_of(index).core.unpack()

    def packed_levels(self, index: faiss.Index) -> int:
        return state_of(index).core.packed_levels()

    def set_tail(self, index: faiss.Index, tail: StoredTail) -> None:
        state_of(index).core.set_tail(tail)

    def tail(self, index: faiss.Index) -> StoredTail | None:
        return state_of(index).core.tail()

    def complete(self, index: faiss.Index, rows: Ids, vectors: Floats) -> None:
        if (tail := self.tail(index)) is not None:
            tail.add_to(rows, vectors)


def _flat_codes(index: faiss.Index) -> Codes:
    """Return FAISS's own codes."""
    shape = index.ntotal, index.code_size
    held, needed = index.codes.size(), index.ntotal * index.code_size
    if held < needed:
        raise RuntimeError(f"the index holds {held} bytes of codes, expected {needed}")
    return (
        faiss.rev_swig_ptr(index.codes.data(), needed).reshape(shape) if needed else np.empty(shape, np.uint8)
    )
