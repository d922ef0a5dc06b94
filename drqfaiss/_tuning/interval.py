"""Between which bounds a recall lies, by how many queries it was measured with."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_Z = 1.959964  # Of a normal distribution, 95 % lie so many standard deviations around the mean.


def interval(shares: NDArray[np.float64], k: int) -> tuple[float, float]:
    """Return bounds of a recall at 95 % confidence, from the shares found of k neighbours for each query.

    Wilson's interval of a binomial share (E. B. Wilson, "Probable Inference, the Law of Succession, and
    Statistical Inference", 1927). The k neighbours of a query are no k independent trials: they count as so
    many as make a binomial share vary as these do between queries, one a query at least.
    """
    share, n = float(shares.mean()), trials(shares, k)
    return lower_bound(share, n), 1 - lower_bound(1 - share, n)


def lower_bound(share: float, n: float) -> float:
    """Return the lower bound of a share that n trials showed."""
    centre = share + _Z**2 / (2 * n)
    width = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    return max(0.0, (centre - width) / (1 + _Z**2 / n))


def trials(shares: NDArray[np.float64], k: int) -> float:
    """Return how many independent trials the shares of some queries are worth."""
    queries, share = len(shares), float(shares.mean())
    variance = float(shares.var(ddof=1)) / queries if queries > 1 else 0.0
    if variance == 0:
        return queries
    return float(np.clip(share * (1 - share) / variance, queries, queries * k))


def queries_needed(recall: float) -> int:
    """Return how many queries it takes to show a recall: as if each found all of its neighbours."""
    # Of n queries without a miss, Wilson's lower bound is n / (n + z²).
    return math.ceil(recall * _Z**2 / (1 - recall))
