"""A method, trained and filled, and its searches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np

import drqfaiss
from benchmarks.common import methods as common
from benchmarks.embeddings.methods import Method, Search, SignBits
from benchmarks.embeddings.report import ALL_LEVELS, INT8, Costs
from drqfaiss.datasets import Dataset


class Kind(NamedTuple):
    """Which search of an index.

    Attributes:
        compared: bytes.
        oversampled: times k candidates that are ranked again; 0: none.
        ranked_by: what ranks them.
        norms: sums of codewords are ranked by distances, for which their norms are known.
    """

    compared: int
    oversampled: int = 0
    ranked_by: str = ""
    norms: bool = False


def build(method: Method, data: Dataset) -> tuple[faiss.Index | SignBits, Costs]:
    """Return a filled index and what it took."""
    index = method.make()
    clock, cpu = time.perf_counter(), time.process_time()
    index.train(data.learn / method.shrink)
    train_s, train_clock_s = time.process_time() - cpu, time.perf_counter() - clock
    cpu = time.process_time()
    index.add(data.base / method.shrink)
    return index, Costs(train_s, train_clock_s, (time.process_time() - cpu) / len(data.base) * 1e6)


def read_or_build(method: Method, data: Dataset, folder: Path) -> faiss.Index | SignBits:
    """Return the filled index that `keep` wrote; what is not FAISS's is built again."""
    path = folder / f"{method.label}.faiss"
    return drqfaiss.read_index(path) if path.exists() else build(method, data)[0]


def keep(method: Method, index: faiss.Index | SignBits, folder: Path) -> None:
    """Write an index to be timed, together with others, by this run or the next."""
    if isinstance(index, faiss.Index):
        folder.mkdir(parents=True, exist_ok=True)
        drqfaiss.write_index(index, folder / f"{method.label}.faiss")


def held_bytes(method: Method, index: faiss.Index | SignBits, kind: Kind) -> int:
    """Return what a vector takes in memory: code, factors and norms, not its id."""
    if kind.norms and method.lengths:
        return index.sa_code_size() + common.FLOAT_NORM_BYTES
    return index.sa_code_size() if kind.norms or not method.metrics else common.code_bytes(_coded(index))


def searches(
    method: Method, index: faiss.Index | SignBits, int8: Mapping[int, faiss.Index]
) -> Iterator[tuple[Kind, Search]]:
    """Yield every search of a method; ``int8`` holds, by metric, the copies that rank candidates again."""
    if isinstance(index, SignBits):
        yield Kind(index.d // 8, index.oversampled, INT8), partial(_ids, index, None, None)
        return
    metrics = method.metrics or (index.metric_type,)
    for metric in metrics:
        norms = bool(method.metrics) and metric == faiss.METRIC_L2
        yield from (
            (kind._replace(norms=norms), partial(_ids, index, metric, parameters))
            for kind, parameters in _plain(method, index)
        )
    own = method.code_bytes or index.sa_code_size()
    for oversampled, compared in method.refined:
        levels = drqfaiss.SearchParametersDRQ(levels=compared) if method.lengths else None
        parameters = faiss.IndexRefineSearchParameters(k_factor=oversampled, base_index_params=levels)
        refined = faiss.IndexRefine(index, int8[index.metric_type])
        kind = Kind(compared or own, oversampled, INT8, bool(method.metrics))
        yield kind, partial(_ids, refined, index.metric_type, parameters)


def _plain(method: Method, index: faiss.Index) -> Iterator[tuple[Kind, drqfaiss.SearchParametersDRQ | None]]:
    """Yield what an index finds without copies of the vectors."""
    for levels in method.lengths:
        yield Kind(levels), drqfaiss.SearchParametersDRQ(levels=levels)
    for levels, factor in method.two_stage:
        parameters = drqfaiss.SearchParametersDRQ(levels=levels, refine_factor=factor)
        yield Kind(levels, factor, ALL_LEVELS), parameters
    if not method.lengths:
        yield Kind(method.code_bytes or index.sa_code_size()), None


def _coded(index: faiss.Index) -> faiss.Index:
    """Return the index whose codes are searched, behind a transform or before a refinement."""
    if isinstance(index, faiss.IndexRefine):
        return index.base_index
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index


def _ids(
    index: faiss.Index | SignBits,
    metric: int | None,
    parameters: faiss.SearchParameters | None,
    queries: np.ndarray,
    k: int,
) -> np.ndarray:
    if metric is not None:
        index.metric_type = _coded(index).metric_type = metric
    if parameters is None:
        return index.search(queries, k)[1]
    return index.search(queries, k, params=parameters)[1]
