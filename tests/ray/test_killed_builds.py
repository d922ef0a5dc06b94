"""A build on a cluster of its own is killed: what it leaves is finished, bit for bit."""

import random
import subprocess
import sys
import threading
import time

from tests.distributed.shards import make_shards

# Slow enough to be killed in the middle on any machine; checkpoints after every chunk.
BUILD = """
import sys, time
import ray
from drqfaiss import build
from drqfaiss.distributed import build_shards

ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 2**20)
trained, vectors, folder = sys.argv[1:]
print("begun", flush=True)
build_shards(trained, vectors, folder, 16, chunk=4, progress=False)
"""


def test_a_build_that_is_killed_at_random_ends_the_same(tmp_path):
    expected = make_shards(tmp_path / "s", shards=16, chunk=4)
    command = [sys.executable, "-c", BUILD, str(expected / "trained.faiss"), str(tmp_path / "s.npy")]
    command.append(str(tmp_path / "killed"))
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "begun\n"
        killer = threading.Timer(random.uniform(0.1, 3), process.kill)
        killer.start()
        process.wait()
        killer.cancel()
        time.sleep(2)  # Ray's own processes end after that of their driver.
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    names = {path.name for path in expected.iterdir()}
    assert {path.name for path in (tmp_path / "killed").iterdir()} == names
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (expected / name).read_bytes()
