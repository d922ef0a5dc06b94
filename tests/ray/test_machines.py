"""A machine is lost at work: no answer is wrong and none is lost."""

from drqfaiss.distributed import ShardedIndex
from tests.distributed.shards import make_shards, make_whole
from tests.distributed.test_index import assert_same
from tests.indexes import make_vectors
from tests.ray.test_kills import QUERIES, killed_during


def test_one_of_two_machines_is_lost(tmp_path, machines, record_property):
    cluster, nodes = machines
    with ShardedIndex.open(make_shards(tmp_path / "s", shards=4)) as index:
        kill = lambda: cluster.remove_node(nodes[0], allow_graceful=False)  # noqa: E731
        found, longest = killed_during(index, kill)
    assert_same(found, make_whole().search(make_vectors(QUERIES, seed=1), 10))
    record_property("longest_wait_seconds", longest)
