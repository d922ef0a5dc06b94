"""Searches of the core in arrays, without an index."""

import numpy as np

from drqfaiss import _core


def given(codebooks, codes):
    """What ArrayIndex wants to know of codebooks (M, K, d) and codes."""
    M, K, _ = codebooks.shape
    return codebooks.ravel(), [K.bit_length() - 1] * M, codes


def knn_search(codebooks, codes, x, k, levels, metric, mask=None):
    """Return distances and ids (n, k) of the nearest codes; metric "l2" or "ip"."""
    return _core.ArrayIndex().search(*given(codebooks, codes), x, k, levels, metric == "l2", mask)


def range_search(codebooks, codes, x, radius, levels, metric, mask=None):
    """Return (distances, ids) by query of all codes nearer than radius, ids ascending."""
    index = _core.ArrayIndex()
    lims, D, ids = index.range_search(*given(codebooks, codes), x, radius, levels, metric == "l2", mask)
    return list(zip(np.split(D, lims[1:-1]), np.split(ids, lims[1:-1]), strict=True)) if len(x) else []
