"""A method, trained and filled, and its searches."""

from __future__ import annotations

import time
from collections.abc import Iterator
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
    """Which search of an index: bytes compared, and times k candidates that are ranked again (0: none)."""

    compared: int
    oversampled: int = 0
    ranked_by: str = ""


def build(method: Method, data: Dataset) -> tuple[faiss.Index | SignBits, Costs]:
    """Return a filled index and what it took."""
    index = method.make()
    clock, cpu = time.perf_counter(), time.process_time()
    index.train(data.learn)
    train_s, train_clock_s = time.process_time() - cpu, time.perf_counter() - clock
    cpu = time.process_time()
    index.add(data.base)
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


def held_bytes(method: Method, index: faiss.Index | SignBits) -> int:
    """Return what a vector takes in memory: code, factors and norms, not its id."""
    norm = common.FLOAT_NORM_BYTES if method.lengths and index.metric_type == faiss.METRIC_L2 else 0
    return index.sa_code_size() + norm


def searches(
    method: Method, index: faiss.Index | SignBits, int8: faiss.Index
) -> Iterator[tuple[Kind, Search]]:
    """Yield every search of a method; ``int8`` holds the copies that rank candidates again."""
    own = method.code_bytes or (index.d // 8 if isinstance(index, SignBits) else index.sa_code_size())
    for levels in method.lengths:
        yield Kind(levels), partial(_ids, index, drqfaiss.SearchParametersDRQ(levels=levels))
    for levels, factor in method.two_stage:
        parameters = drqfaiss.SearchParametersDRQ(levels=levels, refine_factor=factor)
        yield Kind(levels, factor, ALL_LEVELS), partial(_ids, index, parameters)
    if not method.lengths:
        kind = Kind(own, index.oversampled, INT8) if isinstance(index, SignBits) else Kind(own)
        yield kind, partial(_ids, index, None)
    for oversampled, compared in method.refined:
        levels = drqfaiss.SearchParametersDRQ(levels=compared) if method.lengths else None
        parameters = faiss.IndexRefineSearchParameters(k_factor=oversampled, base_index_params=levels)
        refined = faiss.IndexRefine(index, int8)
        yield Kind(compared or own, oversampled, INT8), partial(_ids, refined, parameters)


def _ids(
    index: faiss.Index | SignBits, parameters: faiss.SearchParameters | None, queries: np.ndarray, k: int
) -> np.ndarray:
    if parameters is None:
        return index.search(queries, k)[1]
    return index.search(queries, k, params=parameters)[1]
