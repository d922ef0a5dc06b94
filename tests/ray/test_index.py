"""Shards in actors find, change and refuse what shards in one process do."""

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss.distributed import MissingShardsError, ShardedIndex, _index
from tests.distributed.shards import KINDS, N, make_shards, make_whole, own_ids
from tests.distributed.test_index import assert_same, broken
from tests.indexes import METRICS, make_vectors

pytestmark = pytest.mark.usefixtures("one_machine")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shards", [1, 2, 4, 8])
def test_actors_find_what_one_index_finds(kind, metric, shards, tmp_path, monkeypatch):
    monkeypatch.setattr(_index, "QUERIES_AT_ONCE", 2)  # More batches than shards may be ahead.
    whole, queries = make_whole(kind, metric), make_vectors(13, seed=1)
    with ShardedIndex.open(make_shards(tmp_path / "s", kind, metric, shards)) as index:
        assert (index.d, index.ntotal) == (16, N)
        for k in (1, 10, N + 5):
            assert_same(index.search(queries, k), whole.search(queries, k))
        sel = faiss.IDSelectorBatch(np.arange(0, N, 3))
        params = faiss.SearchParametersIVF(sel=sel, nprobe=3) if kind == "ivf" else None
        params = params or drqfaiss.SearchParametersDRQ(sel=sel)
        chosen = index.search(queries, 10, only=np.arange(0, N, 3))
        assert_same(chosen, whole.search(queries, 10, params=params))


@pytest.mark.parametrize("kind", KINDS)
def test_changes_reach_all_replicas_and_are_saved(kind, tmp_path):
    folder, whole, queries = make_shards(tmp_path / "s", kind), make_whole(kind), make_vectors(9, seed=1)
    new = make_vectors(20, seed=5)
    with ShardedIndex.open(folder, replicas=2) as index:
        index.add(new)
        if kind == "ids":
            whole.add_with_ids(new, own_ids().max() + 1 + np.arange(20))
        else:
            whole.add(new)
        gone = own_ids()[::3] if kind == "ids" else np.arange(0, N, 3)
        assert index.remove_ids(gone) == whole.remove_ids(gone) == len(gone)
        expected = whole.search(queries, 10)
        for _ in range(4):
            assert_same(index.search(queries, 10), expected)
        index.save()
        for _ in range(4):
            assert_same(index.search(queries, 10), expected)
    with ShardedIndex.open(folder, ray=False) as index:
        assert_same(index.search(queries, 10), expected)


@pytest.mark.parametrize("how", ["missing", "truncated", "damaged", "foreign", "another codebook"])
def test_a_shard_that_is_not_what_it_must_be_is_named(how, tmp_path):
    folder = make_shards(tmp_path / "s")
    message = broken(folder, how)
    with pytest.raises((OSError, ValueError), match=message):
        ShardedIndex.open(folder)
    with ShardedIndex.open(folder, partial=True) as index:
        assert [*index.missing] == [str(folder / "shard-00001.faiss")]
        assert index.search(make_vectors(3), 5).missing == index.missing
        with pytest.raises(MissingShardsError, match="shard-00001"):
            index.search(make_vectors(3), 5, partial=False)


def test_wrong_searches_are_refused_as_without_ray(tmp_path):
    with ShardedIndex.open(make_shards(tmp_path / "s")) as index:
        with pytest.raises(ValueError, match=r"levels: got 9, expected 0 \(all\) to 5"):
            index.search(np.zeros((1, 16)), 1, levels=9)
        with pytest.raises(ValueError, match="nprobe: got IndexDRQ, expected an index with inverted lists"):
            index.search(np.zeros((1, 16)), 1, nprobe=2)
        assert len(index.search(np.zeros((1, 16)), 1).ids) == 1
