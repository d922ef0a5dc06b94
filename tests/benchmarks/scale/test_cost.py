"""The arithmetic of a billion vectors, and a tiny run of it end to end."""

import json

import numpy as np
import pytest

from benchmarks.scale.cost import GB, Machine, Unit, needs
from benchmarks.scale.report import cost_page
from tests.benchmarks.running import WARNINGS_FAIL, run_module
from tests.indexes import make_vectors


def test_needs_are_products():
    machine = Machine(cores=10, memory=50 * GB, usable=0.5, core_hour=0.1, disk_month=0.2)
    unit = Unit(d=64, hot=16, tail=80, norm=4, assign_us=12.0, encode_us=24.0, scan_ns=0.5)
    row = needs(unit, 1e9, 0.01, machine)
    assert row["core-hours"] == 10
    assert row["$"] == 1
    assert (row["bytes in memory of one"], row["GB in memory"]) == (28, 28.0)
    assert row["machines"] == 2
    assert row["GB to read"] == 256
    assert row["GB on disk"] == 104.0
    assert row["core ms a query"] == 5.0
    assert row["queries per second of all"] == 4_000
    assert row["$ a month"] == round(2 * 10 * 0.1 * 730 + 104 * 0.2)


@pytest.mark.slow
def test_every_code_is_measured(tmp_path):
    np.save(tmp_path / "x.npy", make_vectors(1_000))
    out = tmp_path / "cost.json"
    sizes = ("--encoded", 100, "--scanned", 1_000, "--codes", "2,2+1", "--out", out)
    done = run_module("benchmarks.scale.cost", "--data", tmp_path / "x.npy", *sizes, python=WARNINGS_FAIL)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert [row["bytes"] for row in result["rows"]] == ["2", "2+1"]
    assert all(unit["encode_us"] > 0 and unit["scan_ns"] > 0 for unit in result["units"])
    assert cost_page([result]).count("\n| 16 |") == 2
