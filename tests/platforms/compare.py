"""Compare what two machines print in tests.versions.results: compare.py EXPECTED RESULTS.

Ids, limits and codes have to be equal. Distances may differ in their last digits: FAISS's own, to centroids,
come from another library of linear algebra.
"""

import json
import sys
from pathlib import Path

import numpy as np


def main(expected: str, results: str) -> None:
    """Exit with 1 and the first difference, if there is one."""
    (version, capabilities, arrays), (other, their_capabilities, their_arrays) = (
        json.loads(Path(file).read_text()) for file in (expected, results)
    )
    inside, theirs_inside = (
        [name for name, reason in found.items() if not reason] for found in (capabilities, their_capabilities)
    )
    assert (version, inside) == (other, theirs_inside), (version, other, their_capabilities)
    for array, theirs in zip(map(np.array, arrays), map(np.array, their_arrays), strict=True):
        tolerance = 0 if array.dtype == np.int64 else 1e-5
        np.testing.assert_allclose(theirs, array, rtol=tolerance, atol=tolerance)
    integers = sum(np.array(array).dtype == np.int64 for array in arrays)
    print(f"{integers} arrays of ids and codes are equal, {len(arrays) - integers} of distances are close")


if __name__ == "__main__":
    main(*sys.argv[1:])
