"""Precision by rank and by recall, and how many numbers codebooks hold: further figures of the paper."""

from __future__ import annotations

import numpy as np

from drqfaiss.evaluation import RANKED_QUERIES, share_a_label


def relevant_totals(query_labels: np.ndarray, base_labels: np.ndarray) -> np.ndarray:
    """Return how many base vectors share a label with each query, (nq,)."""
    blocks = range(0, len(query_labels), RANKED_QUERIES)
    return np.concatenate(
        [share_a_label(query_labels[i : i + RANKED_QUERIES], base_labels).sum(1) for i in blocks]
    )


def precision_at(relevant: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return the mean precision of the first R results, for every R of ``ranks``, (len(ranks),)."""
    return np.array([relevant[:, :rank].mean() for rank in ranks])


def precision_recall(relevant: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (precision, recall) at every rank, (R,) each, means over queries that have relevant vectors.

    Args:
        relevant: (nq, R), of ranked results.
        totals: (nq,), how many relevant vectors the base has.
    """
    some = totals > 0
    found = relevant[some].cumsum(axis=1)
    precision = found.mean(axis=0) / np.arange(1, relevant.shape[1] + 1)
    return precision, (found / totals[some, None]).mean(axis=0)


def codebook_parameters(method: str, d: int, levels: int, bits: int = 8) -> int:
    """Return how many numbers a method's codebooks hold, for codes of ``levels`` times ``bits`` bits.

    Args:
        method: "PQ", "OPQ", "AQ" (RQ and LSQ, too) or "DRQ", whose one codebook serves every length.
        d: dimensions.
        levels: levels or subspaces.
        bits: bits of each.

    Raises:
        ValueError: another method.
    """
    one = 2**bits * d  # the subspaces of PQ share the dimensions
    counts = {"PQ": one, "OPQ": one + d * d, "AQ": levels * one, "DRQ": one + levels}
    if method not in counts:
        raise ValueError(f"method {method!r}; expected one of {sorted(counts)}")
    return counts[method]
