"""Tuning beside a grid of all settings."""

import json

import numpy as np
import pytest

from benchmarks.tuning import measure
from drqfaiss._indexes.settings import Setting
from drqfaiss._tuning.measuring import Measured
from tests.benchmarks.running import run_module
from tests.indexes import make_vectors


def test_the_fastest_of_the_grid_reaches_the_recall_with_confidence():
    shares = {0.8: Setting(1), 0.9: Setting(2), 1.0: Setting(3)}
    rng = np.random.default_rng(0)
    grid = {s: Measured(rng.binomial(10, p, 600) / 10, p * 10) for p, s in shares.items()}
    seen = np.arange(0, 600, 2)
    assert measure.fastest(grid, seen, 0.7, 10) == Setting(1)
    assert measure.fastest(grid, seen, 0.8, 10) == Setting(2)
    assert measure.fastest(grid, seen, 0.99, 10) is None


@pytest.mark.slow
def test_every_index_and_recall_gets_a_line(tmp_path):
    np.save(tmp_path / "x.npy", make_vectors(2000))
    arguments = (
        "--max-base",
        900,
        "--max-learn",
        300,
        "--factory",
        "DRQ2x4",
        "--recalls",
        0.1,
        0.9,
        "--splits",
        1,
    )
    done = run_module(
        "benchmarks.tuning.measure", "--data", tmp_path / "x.npy", *arguments, "--out", tmp_path
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "tuning-x.json").read_text())
    assert [(result["asked"], result["reached"]) for result in results] == [(0.1, True), (0.9, False)]
    assert done.stdout.count("| DRQ2x4 |") == 2
    assert (tmp_path / "tuning-x.md").read_text() == done.stdout
