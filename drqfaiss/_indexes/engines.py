"""How an index does its work: inside FAISS with the plug-in, or through Python where that cannot be.

Both do the same and find the same. Arguments are checked already; arrays are C-contiguous and of the right
type. FAISS's own functions are called by the names that its Python wrappers keep for them (``search_c``):
other modules, as ``faiss.contrib.torch_utils``, replace those wrappers by others that take no parameters.
"""

from __future__ import annotations

from typing import Protocol

import faiss

from drqfaiss._core import StoredTail, plugin
from drqfaiss._indexes.array_flat import FlatArraySearch
from drqfaiss._indexes.array_lists import ListArraySearch
from drqfaiss._indexes.arrays import Codes, Depth, Floats, Ids, Nearest, Parameters, Probes, Query, Ranges
from drqfaiss._plugin import available
from drqfaiss._plugin.layout import address


class Engine(Protocol):
    """What indexes ask for; ``index`` is a faiss.IndexResidualQuantizer or IndexIVFResidualQuantizer."""

    def why_not(self, index: faiss.Index) -> str:
        """Return why an index cannot be one of ours; empty if it can."""

    def adopt(self, index: faiss.Index) -> None:
        """Make an index one of ours; drop what is cached about one that is."""

    def is_adopted(self, index: faiss.Index) -> bool:
        """Return whether an index is one of ours."""

    def depth(self, index: faiss.Index) -> Depth:
        """Return how deep searches look that name no numbers."""

    def set_depth(self, index: faiss.Index, depth: Depth) -> None:
        """Set how deep searches look that name no numbers."""

    def training(self, index: faiss.Index) -> str:
        """Return options as `set_training` took them; empty for FAISS's own training."""

    def set_training(self, index: faiss.Index, options: str, gain_weights: list[float]) -> None:
        """Set how an index trains, and what the gain of each level counts when it encodes."""

    def train(self, index: faiss.Index, x: Floats) -> None:
        """Train."""

    def add(self, index: faiss.Index, x: Floats, ids: Ids | None) -> None:
        """Encode vectors and append their codes."""

    def sa_encode(self, index: faiss.Index, x: Floats, codes: Codes) -> None:
        """Write the codes of vectors."""

    def search(self, index: faiss.Index, query: Query, nearest: Nearest) -> None:
        """Write distances and ids of the nearest."""

    def range_search(self, index: faiss.Index, x: Floats, radius: float, params: Parameters) -> Ranges:
        """Return offsets, distances and ids of all within a radius."""

    def search_and_reconstruct(
        self, index: faiss.Index, query: Query, nearest: Nearest, vectors: Floats
    ) -> None:
        """As `search`, and write the vectors found, (n, k, d)."""


class FlatEngine(Engine, Protocol):
    """What flat indexes ask for besides."""

    def pack(self, index: faiss.Index, levels: int) -> int:
        """Keep the first levels, 0: all, of a flat index's codes packed; return the bytes they take."""

    def unpack(self, index: faiss.Index) -> None:
        """Drop packed codes."""

    def packed_levels(self, index: faiss.Index) -> int:
        """Return how many levels are packed; 0: none."""

    def set_tail(self, index: faiss.Index, tail: StoredTail) -> None:
        """Let a flat index rank by the levels in a side file as well; the tail is copied."""

    def tail(self, index: faiss.Index) -> StoredTail | None:
        """Return the levels of an index that are in a side file."""

    def complete(self, index: faiss.Index, rows: Ids, vectors: Floats) -> None:
        """Add what the levels in a side file stand for to vectors, unless FAISS's functions have."""


class ListEngine(Engine, Protocol):
    """What indexes with inverted lists ask for besides."""

    def search_preassigned(self, index: faiss.Index, query: Query, probes: Probes, nearest: Nearest) -> None:
        """Write what is nearest in given lists."""


def engine_of(index: faiss.Index) -> Engine:
    """Return what works for this index in the FAISS at hand; warn once if it is not the plug-in."""
    return list_engine() if isinstance(index, faiss.IndexIVF) else flat_engine()


def flat_engine() -> FlatEngine:
    """Return what works for flat indexes."""
    return IN_FAISS if available.require_or_warn("flat") else FLAT


def list_engine() -> ListEngine:
    """Return what works for indexes with inverted lists."""
    return IN_FAISS if available.require_or_warn("ivf_lists") else LISTS


class InFaiss:
    """The plug-in: FAISS's own functions are ours."""

    def why_not(self, index: faiss.Index) -> str:
        return plugin.why_not(address(index))

    def adopt(self, index: faiss.Index) -> None:
        plugin.adopt(address(index))

    def is_adopted(self, index: faiss.Index) -> bool:
        return plugin.is_adopted(address(index))

    def depth(self, index: faiss.Index) -> Depth:
        return Depth(*plugin.depth(address(index)))

    def set_depth(self, index: faiss.Index, depth: Depth) -> None:
        plugin.set_depth(address(index), *depth)

    def training(self, index: faiss.Index) -> str:
        return plugin.training(address(index))

    def set_training(self, index: faiss.Index, options: str, gain_weights: list[float]) -> None:
        plugin.set_training(address(index), options)
        plugin.set_gain_weights(address(index), gain_weights)

    def train(self, index: faiss.Index, x: Floats) -> None:
        index.train_c(len(x), faiss.swig_ptr(x))

    def add(self, index: faiss.Index, x: Floats, ids: Ids | None) -> None:
        if ids is None:
            index.add_c(len(x), faiss.swig_ptr(x))
        else:
            index.add_with_ids_c(len(x), faiss.swig_ptr(x), faiss.swig_ptr(ids))

    def sa_encode(self, index: faiss.Index, x: Floats, codes: Codes) -> None:
        index.sa_encode_c(len(x), faiss.swig_ptr(x), faiss.swig_ptr(codes))

    def search(self, index: faiss.Index, query: Query, nearest: Nearest) -> None:
        x, k, params = query
        index.search_c(len(x), faiss.swig_ptr(x), k, *map(faiss.swig_ptr, nearest), params)

    def search_preassigned(self, index: faiss.Index, query: Query, probes: Probes, nearest: Nearest) -> None:
        x, k, params = query
        arrays = map(faiss.swig_ptr, (*probes, *nearest))
        index.search_preassigned_c(len(x), faiss.swig_ptr(x), k, *arrays, False, params)

    def range_search(self, index: faiss.Index, x: Floats, radius: float, params: Parameters) -> Ranges:
        result = faiss.RangeSearchResult(len(x))
        index.range_search_c(len(x), faiss.swig_ptr(x), radius, result, params)
        lims = faiss.rev_swig_ptr(result.lims, len(x) + 1).copy()
        n = int(lims[-1])
        return (
            lims,
            faiss.rev_swig_ptr(result.distances, n).copy(),
            faiss.rev_swig_ptr(result.labels, n).copy(),
        )

    def search_and_reconstruct(
        self, index: faiss.Index, query: Query, nearest: Nearest, vectors: Floats
    ) -> None:
        x, k, params = query
        arrays = map(faiss.swig_ptr, (*nearest, vectors))
        index.search_and_reconstruct_c(len(x), faiss.swig_ptr(x), k, *arrays, params)

    def pack(self, index: faiss.Index, levels: int) -> int:
        return plugin.pack(address(index), levels)

    def unpack(self, index: faiss.Index) -> None:
        plugin.unpack(address(index))

    def packed_levels(self, index: faiss.Index) -> int:
        return plugin.packed_levels(address(index))

    def set_tail(self, index: faiss.Index, tail: StoredTail) -> None:
        plugin.set_tail(address(index), tail)

    def tail(self, index: faiss.Index) -> StoredTail | None:
        return plugin.tail(address(index))

    def complete(self, index: faiss.Index, rows: Ids, vectors: Floats) -> None:
        pass


IN_FAISS, FLAT, LISTS = InFaiss(), FlatArraySearch(), ListArraySearch()
