"""Clusters that end with their tests."""

import pytest
import ray
from ray.cluster_utils import Cluster

STORE = 200 * 2**20  # Bytes of shared memory of each machine.


@pytest.fixture(scope="module")
def one_machine():
    """Ray on this machine, for the tests of a module."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=STORE)
    yield
    ray.shutdown()


@pytest.fixture
def machines():
    """A head, which runs the test, and two more machines to lose: raylets of their own, here."""
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.wait_for_nodes()
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()
