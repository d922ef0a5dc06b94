"""The work of a flat index without the plug-in: FAISS keeps the codes, Python hands them to the core.

It searches as fast as inside FAISS.
"""

from __future__ import annotations

import faiss
import numpy as np

from drqfaiss._indexes.array_work import (
    ArraySearch,
    depth_of,
    encode,
    is_l2,
    levels_of,
    mask_of,
    quantizer_of,
    state_of,
    train_quantizer,
)
from drqfaiss._indexes.arrays import Codes, Floats, Nearest, Parameters, Query, Ranges


class FlatArraySearch(ArraySearch):
    """For a faiss.IndexResidualQuantizer, see `engines.Engine`."""

    def train(self, index: faiss.Index, x: Floats) -> None:
        if self.training(index):
            train_quantizer(index, x)
        else:
            index.train_c(len(x), faiss.swig_ptr(x))

    def sa_encode(self, index: faiss.Index, x: Floats, codes: Codes) -> None:
        encode(index, x, codes)

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
        vectors[found] = index.rq.decode(_flat_codes(index)[nearest.ids[found]])

    def pack(self, index: faiss.Index) -> int:
        return state_of(index).core.pack(*quantizer_of(index), _flat_codes(index), index.d, is_l2(index))

    def unpack(self, index: faiss.Index) -> None:
        state_of(index).core.unpack()

    def is_packed(self, index: faiss.Index) -> bool:
        return state_of(index).core.is_packed()


def _flat_codes(index: faiss.Index) -> Codes:
    """Return FAISS's own codes."""
    shape = index.ntotal, index.code_size
    held, needed = index.codes.size(), index.ntotal * index.code_size
    if held < needed:
        raise RuntimeError(f"the index holds {held} bytes of codes, expected {needed}")
    return (
        faiss.rev_swig_ptr(index.codes.data(), needed).reshape(shape) if needed else np.empty(shape, np.uint8)
    )
