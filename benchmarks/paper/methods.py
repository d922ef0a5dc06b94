"""Ranks the base by every method and length, with features of one network; and the unlearned peers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import faiss
import numpy as np

import drqfaiss
from benchmarks.common import methods
from benchmarks.paper.precision import precision_at, precision_recall, relevant_totals
from benchmarks.paper.result import Result
from benchmarks.paper.tasks import Task
from drqfaiss._least_squares.polish import polish
from drqfaiss.evaluation import mean_average_precision, relevance

CURVE_POINTS = 60
METRIC = faiss.METRIC_INNER_PRODUCT


@dataclass
class Vectors:
    """What an index is trained on, filled with and asked."""

    name: str
    train: np.ndarray
    base: np.ndarray
    query: np.ndarray


def compare(
    task: Task, quantizer: drqfaiss.Quantizer, learned: Vectors, peers: list[str], raw_peers: list[str]
) -> list[Result]:
    """Return all rows: the model's own codes, then peers on its features, then on raw embeddings."""
    results = list(own_codes(task, quantizer, learned))
    results += own_codes(task, polished(task, quantizer, learned), learned, "DRQ, polished")
    results += own_codes(task, own_first(task, learned), learned, "DRQ, own first")
    results += float_and_peers(task, learned, peers)
    if task.embeddings:
        raw = raw_vectors(task)
        results += unsupervised(task, raw)
        results += float_and_peers(task, raw, raw_peers)
    return results


def own_codes(
    task: Task, quantizer: drqfaiss.Quantizer, vectors: Vectors, method: str = "DRQ"
) -> Iterator[Result]:
    """Every length as a prefix of the same codes, in one index."""
    index = quantizer.to_index(METRIC)
    index.rq.max_beam_size = 1  # level by level, as in training: best for short prefixes
    yield from prefixes(task, index, vectors, method, 0.0)


def polished(task: Task, quantizer: drqfaiss.Quantizer, vectors: Vectors) -> drqfaiss.Quantizer:
    """Fit the codebook to the features by least squares: greedy codes, the lengths in use count the same."""
    return polish(quantizer, vectors.train, prefix_weights=even_weights(task), beam=1)


def own_first(task: Task, vectors: Vectors) -> drqfaiss.Quantizer:
    """Train on the features by least squares, the first level with a codebook of its own."""
    return drqfaiss.Quantizer.train(
        vectors.train,
        levels=task.levels,
        bits=task.level_bits,
        layout="shared",
        own_first=True,
        prefix_weights=even_weights(task),
        progress=False,
    )


def even_weights(task: Task) -> dict[int, float]:
    """Return prefix weights with which the lengths in use count the same."""
    return {bits // task.level_bits: 1.0 for bits in task.code_bits}


def unsupervised(task: Task, vectors: Vectors) -> Iterator[Result]:
    """Train DRQ by least squares, without labels, and yield every length."""
    options = {"layout": "shared", "progress": False}
    index = drqfaiss.IndexDRQ(vectors.base.shape[1], task.levels, task.level_bits, METRIC, **options)
    seconds = timed(lambda: index.train(vectors.train))
    yield from prefixes(task, index, vectors, "DRQ without labels", seconds)


def prefixes(
    task: Task, index: drqfaiss.IndexDRQ, vectors: Vectors, method: str, seconds: float
) -> Iterator[Result]:
    index.add(vectors.base)
    for bits in task.code_bits:
        levels = drqfaiss.SearchParametersDRQ(levels=bits // task.level_bits)
        yield ranked(task, index, vectors, method, bits, seconds, levels)


def float_and_peers(task: Task, vectors: Vectors, peers: list[str]) -> Iterator[Result]:
    """Yield exact float vectors, and FAISS's quantizers trained for each length."""
    d = vectors.base.shape[1]
    exact = faiss.IndexFlatIP(d)
    exact.add(vectors.base)
    yield ranked(task, exact, vectors, "float vectors", 0, 0.0)
    for name in peers:
        for bits in task.code_bits:
            if name == "ITQ" and bits > d:  # a bit needs a dimension
                continue
            m, width = parts(bits)
            index = PEERS[name](d, m, METRIC, width)
            seconds = timed(lambda index=index: index.train(vectors.train))
            index.add(vectors.base)
            yield ranked(task, index, vectors, name, bits, seconds)


def ranked(
    task: Task,
    index: faiss.Index,
    vectors: Vectors,
    method: str,
    bits: int,
    seconds: float,
    params: faiss.SearchParameters | None = None,
) -> Result:
    """Rank the base for every query and count."""
    relevant = relevance(index, vectors.query, task.query.labels, task.base.labels, task.rank, params)
    totals = relevant_totals(task.query.labels, task.base.labels)
    ranks = np.unique(np.geomspace(1, task.rank, CURVE_POINTS).astype(int))
    precision, recall = precision_recall(relevant, totals)
    result = Result(method, vectors.name, bits, mean_average_precision(relevant), seconds)
    result.ranks, result.precision = ranks.tolist(), precision_at(relevant, ranks).tolist()
    result.pr_precision, result.pr_recall = precision[ranks - 1].tolist(), recall[ranks - 1].tolist()
    print(
        f"{vectors.name:>8} {method:<20} {bits:>3} bits: mAP {result.mean_ap:.4f}",
        file=sys.stderr,
        flush=True,
    )
    return result


def parts(bits: int) -> tuple[int, int]:
    """Return (subspaces, bits of each) of a code: bytes where they fit, else the widest equal parts."""
    width = next(width for width in range(8, 0, -1) if bits % width == 0)
    return bits // width, width


PEERS = {
    "PQ": methods.pq,
    "OPQ": methods.opq,
    "RQ": methods.rq(16),
    "LSQ": methods.lsq,
    "ITQ": methods.itq,
}


def raw_vectors(task: Task) -> Vectors:
    """Return embeddings as they came."""
    return Vectors("raw", task.train.inputs, task.base.inputs, task.query.inputs)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
