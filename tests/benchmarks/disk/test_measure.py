"""A tiny comparison of an index in memory with one whose last levels are on disk, end to end."""

import numpy as np
import pytest

import drqfaiss
from tests.benchmarks.running import WARNINGS_FAIL, run_module
from tests.indexes import make_index, make_vectors

pytestmark = pytest.mark.slow  # a whole comparison, in a process of its own


@pytest.mark.parametrize("options", [(), ("--pack",)])
def test_every_setting_is_measured(tmp_path, options):
    drqfaiss.write_index(make_index(400), tmp_path / "x.faiss")
    np.save(tmp_path / "base.npy", make_vectors(400))
    np.save(tmp_path / "query.npy", make_vectors(20, seed=1))
    files = (tmp_path / "x.faiss", tmp_path / "query.npy", "--base", tmp_path / "base.npy")
    settings = ("--hot", "1,3", "--factors", "2,400", "--runs", 1, "--seconds", 0.001)
    done = run_module("benchmarks.disk.measure", *files, *settings, *options, python=WARNINGS_FAIL)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.split()[0].isdigit()]
    assert [row[0] for row in rows] == ["1", "1", "3", "3", "5"]
    assert [row[1] for row in rows] == ["5", "5", "6", "6", "7"]  # four bits a level, and the norm
    all_ranked, whole = rows[1], rows[-1]
    assert all_ranked[2:4] == whole[2:4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.npy", "query.npy", "x.faiss"]
