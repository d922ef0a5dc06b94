import numpy as np
import pytest

from benchmarks.paper.precision import codebook_parameters, precision_at, precision_recall, relevant_totals


def test_precision_curves_by_hand():
    relevant = np.array([[1, 0, 1], [1, 1, 0]], bool)
    np.testing.assert_allclose(precision_at(relevant, [1, 2, 3]), [1, 3 / 4, 2 / 3])
    precision, recall = precision_recall(relevant, np.array([4, 2]))
    np.testing.assert_allclose(precision, [1, 3 / 4, 2 / 3])
    np.testing.assert_allclose(recall, [(1 / 4 + 1 / 2) / 2, (1 / 4 + 1) / 2, (1 / 2 + 1) / 2])
    with_empty = precision_recall(np.array([[1, 0, 1], [0, 0, 0]], bool), np.array([2, 0]))
    np.testing.assert_allclose(
        with_empty[0], [1, 1 / 2, 2 / 3]
    )  # the query without relevant vectors is left out


@pytest.mark.parametrize("several", [False, True])
def test_totals_count_who_shares_a_label(several, monkeypatch):
    monkeypatch.setattr("benchmarks.paper.precision.RANKED_QUERIES", 3)  # more than one block
    rng = np.random.default_rng(0)
    if several:
        base_labels, query_labels = rng.random((40, 5)) < 0.3, rng.random((7, 5)) < 0.4
        shared = (query_labels[:, None] & base_labels).any(2)
    else:
        base_labels, query_labels = rng.integers(3, size=40), rng.integers(3, size=7)
        shared = query_labels[:, None] == base_labels
    np.testing.assert_array_equal(relevant_totals(query_labels, base_labels), shared.sum(1))


def test_codebook_parameters_are_those_of_the_paper():
    thousands = {
        method: codebook_parameters(method, 2048, 4) // 1000 for method in ("PQ", "OPQ", "AQ", "DRQ")
    }
    assert thousands == {"PQ": 524, "OPQ": 4718, "AQ": 2097, "DRQ": 524}
    with pytest.raises(ValueError, match="method 'LSH'"):
        codebook_parameters("LSH", 8, 1)
