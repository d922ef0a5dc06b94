"""``levels`` through ``faiss.IndexShardsIVF``, which hands no search parameters on to its shards."""

from __future__ import annotations

import functools
from typing import Any

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from drqfaiss import _check
from drqfaiss._indexes.ivf import IndexIVFDRQ
from drqfaiss._indexes.nested import as_drq
from drqfaiss._indexes.parameters import SearchParametersIVFDRQ

Results = tuple[NDArray[np.float32], NDArray[np.int64]]


def search(
    shards: faiss.IndexShardsIVF,
    x: ArrayLike,
    k: int,
    params: SearchParametersIVFDRQ,
    D: NDArray[np.float32] | None = None,
    I: NDArray[np.int64] | None = None,  # noqa: E741
) -> Results:
    """Return what ``faiss.IndexShards`` would find with these parameters."""
    x, k = _check.vectors("x", x, shards.d), _check.integer("k", k, 1)
    D = _check.output("D", D, (len(x), k), np.float32)
    I = _check.output("I", I, (len(x), k), np.int64)  # noqa: E741
    params = params.with_nprobe(faiss.downcast_index(shards.at(0)).nprobe)
    nprobe = min(shards.nlist, params.nprobe or 1)
    distances = np.empty((len(x), nprobe), np.float32)
    keys = np.empty(distances.shape, np.int64)
    outputs = faiss.swig_ptr(distances), faiss.swig_ptr(keys)
    coarse_params = params.quantizer_params
    shards.quantizer.search_c(len(x), faiss.swig_ptr(x), nprobe, *outputs, coarse_params)
    parts, before = [], 0
    for i in range(shards.count()):
        shard = as_drq(shards.at(i))
        if not isinstance(shard, IndexIVFDRQ):
            raise RuntimeError(f"levels: got shard {i} of {type(shard).__name__}, expected an IndexIVFDRQ")
        near, ids = shard.search_preassigned(x, k, keys, distances, params=params)
        parts.append((near, np.where(ids < 0, ids, ids + before)))
        before += shard.ntotal if shards.successive_ids else 0
    all_near, all_ids = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    worst_first = all_near if shards.metric_type == faiss.METRIC_L2 else -all_near
    order = np.argsort(worst_first, axis=1, kind="stable")[:, :k]
    D[:], I[:] = np.take_along_axis(all_near, order, 1), np.take_along_axis(all_ids, order, 1)
    return D, I


def _handing_on(stock: Any) -> Any:
    @functools.wraps(stock)
    def search_shards(self: faiss.IndexShardsIVF, x: ArrayLike, k: int, *rest: Any, **options: Any) -> Any:
        params = options.get("params")
        if not isinstance(params, SearchParametersIVFDRQ) or not params.levels:
            return stock(self, x, k, *rest, **options)
        options.pop("numeric_type", None)
        return search(self, x, k, *rest, **options)

    return search_shards


def hand_levels_on() -> None:
    """Let searches with a ``SearchParametersIVFDRQ`` that names levels ask the shards one by one.

    All other searches stay FAISS's.
    """
    faiss.IndexShardsIVF.search = _handing_on(faiss.IndexShardsIVF.search)
