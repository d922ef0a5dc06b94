"""A tiny run of the benchmark of shards, end to end."""

import json

import numpy as np

from benchmarks.scale.report import cluster_page
from tests.benchmarks.running import run_module
from tests.indexes import make_vectors


def test_every_part_is_measured(tmp_path):
    np.save(tmp_path / "x.npy", make_vectors(1_000))
    out = tmp_path / "cluster.json"
    sizes = ("--levels", 2, "--per-shard", 500, "--shards", "1,2", "--batch", 20, "--runs", 2, "--single", 5)
    sizes += ("--encoded", 500, "--requests", 320, "--clients", 4, "--out", out)
    done = run_module("benchmarks.scale.measure", "--data", tmp_path / "x.npy", *sizes)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert [(row["shards"], row["queries"]) for row in result["overhead"]] == [
        *((1, "batch"), (1, "single"), (2, "batch"), (2, "single"))
    ]
    assert [(row["answered"], row["wrong"]) for row in result["kills"]] == [(1_000, 0), (1_000, 0)]
    assert result["http"]["requests"] == 320
    assert result["http"]["wrong answers"] == {}
    assert {status[0] for status in result["http"]["statuses"]} == {"2", "4"}
    assert "one of two machines" in cluster_page(result)
