"""How good a search is: exact neighbours, 1@k and k@k; with labels, mAP@R."""

from __future__ import annotations

import faiss
import numpy as np

# More candidates than neighbours, so that rounding in the first pass cannot lose one of them.
EXTRA_CANDIDATES = 32
RESCORED_QUERIES = 256
RANKED_QUERIES = 500


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
        raise ValueError(f"k: got {k}, expected 1 to {len(base)}, the number of base vectors")
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
    """Return 1@k: the share of queries whose true nearest neighbour is among the first k results.

    Papers on quantizers call it R@k or recall@k (Jégou, Douze and Schmid, "Product Quantization for Nearest
    Neighbor Search", section V); what vector databases call recall@k is `intersection_at`. Both are the same
    for k = 1.

    Args:
        ids: what the search returned, (nq, ≥ k).
        groundtruth: exact neighbours, nearest first, (nq, ≥ 1).
        k: how many results count.

    Raises:
        ValueError: shapes that do not fit.
    """
    _require_results(ids, groundtruth, k)
    return float((ids[:, :k] == groundtruth[:, :1]).any(axis=1).mean())


def intersection_at(ids: np.ndarray, exact: np.ndarray, k: int, of: int | None = None) -> float:
    """Return k@k: the share of the k exact nearest neighbours that are among the first k results.

    Most people mean this by recall: it is ``knn_intersection_measure`` of ``faiss.contrib.evaluation`` and
    the k-nn recall of ann-benchmarks, which counts by distance where this counts by id, so that of vectors
    equally far away only those in ``exact`` count.

    Args:
        ids: what the search returned, (nq, ≥ k); negative ids are none.
        exact: exact neighbours, nearest first, (nq, ≥ k).
        k: how many results count.
        of: how many exact neighbours count, None: k. With k = 100 and of = 10 it is 10@100.

    Raises:
        ValueError: shapes that do not fit.
    """
    _require_results(ids, exact, k)
    name, of = ("k", k) if of is None else ("of", of)
    if not 1 <= of <= exact.shape[1]:
        raise ValueError(
            f"{name}: got {of}, expected 1 to {exact.shape[1]}, the number of exact neighbours per query"
        )
    found = [
        np.intersect1d(row[row >= 0], true).size for row, true in zip(ids[:, :k], exact[:, :of], strict=True)
    ]
    return float(np.mean(found) / of)


def _require_results(ids: np.ndarray, groundtruth: np.ndarray, k: int) -> None:
    if len(ids) != len(groundtruth):
        raise ValueError(
            f"ids: got results for {len(ids)} queries, expected {len(groundtruth)} as in the ground truth"
        )
    if not 1 <= k <= ids.shape[1]:
        raise ValueError(f"k: got {k}, expected 1 to {ids.shape[1]}, the number of results per query")


def relevance(
    index: faiss.Index,
    query: np.ndarray,
    query_labels: np.ndarray,
    base_labels: np.ndarray,
    k: int,
    params: faiss.SearchParameters | None = None,
) -> np.ndarray:
    """Rank the index's vectors for every query and tell which share a label with it.

    With an inner-product index of quantized features this is the asymmetric quantizer distance: the raw
    feature of the query against the reconstructions. Vectors with equal codes rank by id, so they should not
    be stored class by class.

    Args:
        index: holds the base.
        query: (nq, d).
        query_labels: classes (nq,), or zeros and ones (nq, C).
        base_labels: the same of the index's vectors.
        k: ranks R to look at.
        params: of the search, a code length for example.

    Returns:
        (nq, k) bool, best rank first; ranks beyond the results of a search are False.

    Raises:
        ValueError: labels that do not fit the index or the queries.
    """
    query_labels, base_labels = np.asarray(query_labels), np.asarray(base_labels)
    if len(query_labels) != len(query) or len(base_labels) != index.ntotal:
        raise ValueError(
            f"labels: got those of {len(query_labels)} queries and {len(base_labels)} vectors, "
            f"expected {len(query)} and {index.ntotal}"
        )
    if query_labels.shape[1:] != base_labels.shape[1:]:
        raise ValueError(
            f"labels: got shapes {query_labels.shape} and {base_labels.shape}, expected equal classes"
        )
    relevant = np.empty((len(query), k), bool)
    for i in range(0, len(query), RANKED_QUERIES):
        block = slice(i, i + RANKED_QUERIES)
        ids = index.search(np.ascontiguousarray(query[block], np.float32), k, params=params)[1]
        shared = share_a_label(query_labels[block], base_labels)
        relevant[block] = np.take_along_axis(shared, np.maximum(ids, 0), axis=1) & (ids >= 0)
    return relevant


def share_a_label(query_labels: np.ndarray, base_labels: np.ndarray) -> np.ndarray:
    """Return which base vectors share a label with each query, (nq, n) bool."""
    if query_labels.ndim == 1:
        return query_labels[:, None] == base_labels
    return query_labels.astype(np.float32) @ base_labels.astype(np.float32).T > 0


def mean_average_precision(relevant: np.ndarray) -> float:
    """Return mAP@R for the relevance (nq, R) of ranked results.

    AP@R = Σ_i P(i) rel(i) / (number of relevant results within the top R), 0 where there is none.
    """
    blocks = [relevant[i : i + RANKED_QUERIES] for i in range(0, len(relevant), RANKED_QUERIES)]
    return float(sum(_average_precision(block).sum() for block in blocks) / len(relevant))


def _average_precision(relevant: np.ndarray) -> np.ndarray:
    found = relevant.cumsum(axis=1)
    precision = found / np.arange(1, relevant.shape[1] + 1)
    return (precision * relevant).sum(axis=1) / np.maximum(found[:, -1], 1)
