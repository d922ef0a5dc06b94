"""Searching at every SIMD level of this machine."""

import numpy as np

from drqfaiss import _core
from tests.conftest import AVAILABLE_LEVELS


def search_on_all_levels(search):
    """The scalar result, after checking that every other level gives the same bits."""
    results = {}
    for level in AVAILABLE_LEVELS:
        _core.set_simd_level(level)
        results[level] = search()
    for level, (D, ids) in results.items():
        np.testing.assert_array_equal(ids, results["scalar"][1], err_msg=level)
        np.testing.assert_array_equal(D, results["scalar"][0], err_msg=level)
    return results["scalar"]
