"""Beams and local search on a few vectors, end to end."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # whole comparisons, in processes of their own

ROOT = Path(__file__).parents[3]


def test_more_work_lowers_the_error(tmp_path):
    np.save(tmp_path / "set_learn.npy", np.random.default_rng(0).normal(size=(1300, 12)).astype(np.float32))
    for part in ("base", "query"):
        np.save(tmp_path / f"set_{part}.npy", np.zeros((1, 12), np.float32))
    command = [sys.executable, "-m", "benchmarks.accuracy.encoding", "--data", tmp_path / "set"]
    done = subprocess.run(
        [*command, "--hold-out", "100", "--out", tmp_path / "out"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "out" / "encoding.md").read_text()
    assert "learn 600, base 600, queries 100" in done.stdout
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| beam")]
    whole = {row[0].removeprefix("| "): float(row[5]) for row in rows}
    assert whole["beam 128"] < whole["beam 8"] < whole["beam 1"]
    for beam in (8, 32):
        assert whole[f"beam {beam}, local search"] <= whole[f"beam {beam}"]
