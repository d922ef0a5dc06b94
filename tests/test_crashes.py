"""A writer that is killed or fails leaves the old content or the new one, and the next one cleans up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # a process for every call of the system that a writer makes

CRASHES = Path(__file__).parent / "crashes"
LEAST_CALLS = {
    "write_index": 10,
    "write_index to a new file": 8,
    "Quantizer.save": 10,
    "build": 60,
    "build of a shard": 60,
    "build into its own index": 60,
    "split_tail": 20,
    "split_tail to new files": 16,
    "merge": 10,
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crashes")
    shim = folder / "shim.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", shim, CRASHES / "shim.c", "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.crashes.run", str(shim)],
        cwd=folder,
        env={
            **os.environ,
            "LD_PRELOAD": str(shim),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(CRASHES.parents[1]),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("writer", LEAST_CALLS)
def test_nothing_is_lost_at_any_call(report, writer):
    assert report[writer]["lost"] == []
    assert report[writer]["calls"] >= LEAST_CALLS[writer]
