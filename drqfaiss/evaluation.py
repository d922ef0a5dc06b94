"""How good a search is: exact neighbours and recall@k."""

from __future__ import annotations

import faiss
import numpy as np

# More candidates than neighbours, so that rounding in the first pass cannot lose one of them.
EXTRA_CANDIDATES = 32
RESCORED_QUERIES = 256


def exact_neighbours(
    base: np.ndarray, query: np.ndarray, k: int = 100, metric: int = faiss.METRIC_L2
) -> np.ndarray:
    """Find the exact nearest neighbours by brute force.

    FAISS computes L2 distances as ‖q‖² + ‖x‖² − 2⟨q, x⟩ in float32, which can swap neighbours that are almost
    equally far; its candidates are therefore ranked again in float64, ties by id.

    Args:
        base: (n, d).
        query: (nq, d).
        k: neighbours per query, at most n.
        metric: ``faiss.METRIC_L2`` or ``faiss.METRIC_INNER_PRODUCT``.

    Returns:
        ids (nq, k) int64, nearest first.

    Raises:
        ValueError: k is not in 1..n.
    """
    if not 1 <= k <= len(base):
        raise ValueError(f"k = {k}; expected 1..{len(base)}, the number of base vectors")
    base = np.ascontiguousarray(base, dtype=np.float32)
    query = np.ascontiguousarray(query, dtype=np.float32)
    candidates = faiss.knn(query, base, min(k + EXTRA_CANDIDATES, len(base)), metric)[1]
    blocks = range(0, len(query), RESCORED_QUERIES)
    return np.concatenate(
        [
            _rank(base, query[i : i + RESCORED_QUERIES], candidates[i : i + RESCORED_QUERIES], metric)
            for i in blocks
        ]
    )[:, :k]


def _rank(base: np.ndarray, query: np.ndarray, candidates: np.ndarray, metric: int) -> np.ndarray:
    candidates = np.sort(candidates, axis=1)
    vectors = base[candidates].astype(np.float64)
    if metric == faiss.METRIC_L2:
        distances = np.square(vectors - query[:, None]).sum(axis=2)
    else:
        distances = -np.einsum("qcd,qd->qc", vectors, query)
    # A stable sort of candidates that are sorted by id breaks ties by id.
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1)


def recall_at(ids: np.ndarray, groundtruth: np.ndarray, k: int) -> float:
    """Return recall@k: the share of queries whose true nearest neighbour is among the first k results.

    Args:
        ids: what the search returned, (nq, ≥ k).
        groundtruth: exact neighbours, nearest first, (nq, ≥ 1).
        k: how many results count.

    Raises:
        ValueError: shapes that do not fit.
    """
    if len(ids) != len(groundtruth):
        raise ValueError(
            f"results for {len(ids)} queries; expected {len(groundtruth)} as in the ground truth"
        )
    if not 1 <= k <= ids.shape[1]:
        raise ValueError(f"k = {k}; expected 1..{ids.shape[1]}, the number of results per query")
    return float((ids[:, :k] == groundtruth[:, :1]).any(axis=1).mean())
