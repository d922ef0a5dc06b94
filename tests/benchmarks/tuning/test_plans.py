"""Plans beside the indexes that are built by them."""

import json

import numpy as np
import pytest

from benchmarks.tuning import plans
from tests.benchmarks.running import run_module


def test_a_line_tells_what_was_expected_and_found():
    result = plans.Result("recall 0.5", "DRQ4x8", 0.512, 0.498, 2_040_000, 2_100_000)
    assert (
        plans.page({}, [result]).strip().splitlines()[-1]
        == "| recall 0.5 | `DRQ4x8` | 0.512 | 0.498 | 2.0 | 2.1 |"
    )


@pytest.mark.slow
def test_every_question_gets_a_line(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(9_000, 2)).astype(np.float32))
    done = run_module(
        "benchmarks.tuning.plans", "--data", tmp_path / "x.npy", "--recalls", 0.3, "--memory", 500_000,
        "--sample", 3_000, "--quality", "fast", "--out", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "plans-x.md").read_text()
    results = json.loads((tmp_path / "plans-x.json").read_text())
    assert [result["asked"] for result in results] == ["recall 0.3", "memory 500,000"]
    for result in results:
        assert result["description"] == "DRQ2x8"
        assert 0 < result["found"] <= 1
        assert result["memory_found"] > 0
