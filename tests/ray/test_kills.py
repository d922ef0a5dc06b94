"""Actors are killed at work: no answer is wrong and none is lost."""

import time

import numpy as np
import pytest
import ray

from drqfaiss.distributed import MissingShardsError, ShardedIndex
from tests.distributed.shards import make_shards, make_whole
from tests.distributed.test_index import assert_same
from tests.indexes import make_vectors

QUERIES = 1_000


def actors_of(index):
    return [actor for group in index._shards._groups for actor in group.actors]


def killed_during(index, kill, at=QUERIES // 4):
    """Search one by one, kill in the middle; return what was found and the longest wait."""
    queries, found, longest = make_vectors(QUERIES, seed=1), [], 0.0
    for i, query in enumerate(queries):
        if i == at:
            kill()
        began = time.monotonic()
        found.append(index.search(query[None], 10))
        longest = max(longest, time.monotonic() - began)
    return [np.concatenate(parts) for parts in zip(*found, strict=True)], longest


@pytest.mark.parametrize("replicas", [1, 2])
def test_one_of_four_actors_is_lost(replicas, tmp_path, one_machine, record_property):
    with ShardedIndex.open(make_shards(tmp_path / "s", shards=4), replicas=replicas) as index:
        kill = lambda: ray.kill(actors_of(index)[1], no_restart=False)  # noqa: E731
        found, longest = killed_during(index, kill)
    assert_same(found, make_whole().search(make_vectors(QUERIES, seed=1), 10))
    record_property("longest_wait_seconds", longest)


def test_changes_are_made_again_on_what_was_lost(tmp_path, one_machine):
    whole, new, queries = make_whole(), make_vectors(30, seed=5), make_vectors(9, seed=1)
    with ShardedIndex.open(make_shards(tmp_path / "s", shards=4)) as index:
        index.add(new)
        index.remove_ids(range(0, 300, 2))
        whole.add(new)
        whole.remove_ids(np.arange(0, 300, 2))
        for actor in actors_of(index):
            ray.kill(actor, no_restart=False)
        assert_same(index.search(queries, 10), whole.search(queries, 10))
        index.save()
        for actor in actors_of(index):
            ray.kill(actor, no_restart=False)
        assert_same(index.search(queries, 10), whole.search(queries, 10))


def test_what_is_lost_for_good_is_named(tmp_path, one_machine):
    folder = make_shards(tmp_path / "s", shards=4)
    with ShardedIndex.open(folder, timeout=1.0) as index:
        ray.kill(actors_of(index)[2], no_restart=True)
        found = index.search(make_vectors(3), 400, partial=True)
        assert [*found.missing] == [str(folder / "shard-00002.faiss")]
        assert "its actor is lost" in found.missing[str(folder / "shard-00002.faiss")]
        assert not ((found.ids >= 250) & (found.ids < 375)).any()
        with pytest.raises(MissingShardsError, match=r"shard-00002\.faiss: its actor is lost"):
            index.search(make_vectors(3), 5)
