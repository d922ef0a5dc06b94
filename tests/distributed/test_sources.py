import numpy as np
import pytest

from drqfaiss.distributed import _sources
from drqfaiss.distributed._sources import Files, cuts, read_ids, source_of
from tests.indexes import make_vectors


@pytest.fixture
def names(tmp_path):
    for i, rows in enumerate((5, 1, 7)):
        np.save(tmp_path / f"x{i}.npy", make_vectors(rows, seed=i))
    return [str(tmp_path / f"x{i}.npy") for i in range(3)]


@pytest.fixture
def together():
    return np.concatenate([make_vectors(rows, seed=i) for i, rows in enumerate((5, 1, 7))])


def test_files_are_one_array(names, together):
    files = Files(names)
    assert (files.shape, len(files), files.dtype) == ((13, 16), 13, np.float32)
    for start in range(14):
        for stop in range(15):
            np.testing.assert_array_equal(files[start:stop], together[start:stop])
    np.testing.assert_array_equal(files[1:12:3], together[1:12:3])


def test_files_of_other_dimensions_are_named(names, tmp_path):
    np.save(tmp_path / "narrow.npy", np.zeros((3, 5), np.float32))
    with pytest.raises(ValueError, match=r"narrow\.npy: got vectors of shape \(5,\), expected \(16,\)"):
        Files([*names, str(tmp_path / "narrow.npy")])


def opened(source, **of):
    parts = [part.open() for part in source.parts(of.get("shards"), of.get("shard_rows"))]
    return [np.asarray(vectors[:]) for vectors, _ in parts], [ids for _, ids in parts]


def test_names_patterns_and_lists_give_the_same_parts(names, together, tmp_path):
    for given in (names, str(tmp_path / "x*.npy"), [str(tmp_path / "x[01].npy"), names[2]]):
        source = source_of(given, None, "vector")
        assert (source.d, source.has_ids) == (16, False)
        vectors, ids = opened(source, shards=4)
        assert [len(part) for part in vectors] == [3, 3, 3, 4]
        np.testing.assert_array_equal(np.concatenate(vectors), together)
        assert ids == [None] * 4
        np.testing.assert_array_equal(source.sample(100), together)


def test_ids_go_with_their_vectors(names, tmp_path):
    ids = np.arange(13) * 3
    np.save(tmp_path / "ids.npy", ids.astype(np.int32)[:, None])
    for given in (ids, tmp_path / "ids.npy"):
        _, found = opened(source_of(names, given, "vector"), shard_rows=5)
        np.testing.assert_array_equal(np.concatenate(found), ids)
        assert [part.dtype for part in found] == [np.int64] * 3
    with pytest.raises(ValueError, match=r"ids: got shape \(12,\), expected \(13,\)"):
        source_of(names, ids[1:], "vector")
    np.save(tmp_path / "floats.npy", np.zeros(13))
    with pytest.raises(ValueError, match=r"floats\.npy: got float64 of shape \(13,\), expected integers"):
        read_ids(str(tmp_path / "floats.npy"))


@pytest.mark.parametrize("with_ids", [False, True])
def test_iterators_are_cut_where_shards_end(with_ids, together):
    def arrays():
        for first in range(0, 13, 4):
            rows = together[first : first + 4]
            yield (rows, np.arange(first, first + len(rows))) if with_ids else rows

    source = source_of(arrays(), None, "vector")
    np.testing.assert_array_equal(source.sample(6), together[:6])  # They are not lost.
    vectors, ids = opened(source, shard_rows=5)
    assert [len(part) for part in vectors] == [5, 5, 3]
    np.testing.assert_array_equal(np.concatenate(vectors), together)
    if with_ids:
        np.testing.assert_array_equal(np.concatenate(ids), np.arange(13))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (3, "vectors: got 3, expected files, an iterable of arrays or a Ray Dataset"),
        ([], "vectors: got an iterator of nothing, expected arrays"),
        ("none-*.npy", r"none-\*\.npy: no such files"),
        ([np.zeros((1, 2)), np.zeros((1, 3))], r"vectors: got shape \(1, 3\), expected \(n, 2\)"),
        ([np.zeros((1, 2)), (np.zeros((1, 2)), [1])], "got arrays with and without ids"),
        ([(np.zeros((1, 2)), [1, 2])], r"ids: got shape \(2,\), expected \(1,\)"),
    ],
)
def test_other_sources_are_refused(vectors, message):
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=message):
        [*source_of(vectors, None, "vector").parts(None, 2)]


def test_cuts_need_one_of_two_numbers():
    assert cuts(10, 3, None) == [(0, 3), (3, 6), (6, 10)]
    assert cuts(10, None, 4) == [(0, 4), (4, 8), (8, 10)]
    for shards, rows in ((None, None), (2, 2)):
        with pytest.raises(ValueError, match="expected one of them"):
            cuts(10, shards, rows)
    with pytest.raises(ValueError, match="shards: got 11, expected 1 to 10"):
        cuts(10, 11, None)


def test_an_iterator_needs_the_rows_of_a_shard():
    source = _sources.ArraySource([np.zeros((1, 2))])
    with pytest.raises(ValueError, match="shard_rows: got None, expected the rows of a shard"):
        [*source.parts(3, None)]
