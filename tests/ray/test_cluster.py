"""A cluster that cannot be reached is named; in a process that has joined no other."""

import subprocess
import sys

from tests.distributed.shards import make_shards

CODE = """
import sys
from drqfaiss.distributed import ShardedIndex
try:
    ShardedIndex.open(sys.argv[1], address="127.0.0.1:1")
except ConnectionError as error:
    print(error)
"""


def test_a_cluster_that_does_not_answer_is_named(tmp_path):
    command = [sys.executable, "-c", CODE, str(make_shards(tmp_path / "s"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    message = "address: got '127.0.0.1:1', expected a Ray cluster that answers: "
    assert done.stdout.startswith(message), (done.stdout, done.stderr[-2000:])
