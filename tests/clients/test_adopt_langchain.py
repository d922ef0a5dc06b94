"""The benchmark of adopted LangChain stores runs and compares like with like."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.indexes import make_vectors

ROOT = Path(__file__).parents[2]


def test_figures(tmp_path):
    np.save(tmp_path / "x.npy", make_vectors(1000))
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.clients.langchain", "--data", tmp_path / "x.npy"]
    options = ["--index=RQ3x4", "--seconds=0", "--runs=1", "--out", out]
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    lines = json.loads(out.read_text())
    assert [line["index"] for line in lines] == ["RQ3x4", "RQ3x4_Nfloat"]
    for line in lines:
        assert line["index"] in done.stdout
        assert line["same_ids"] > 0.9
        assert line["largest_score_difference"] < 1e-4
        assert line["ratio"] == pytest.approx(line["stock_ms"] / line["adopted_ms"])
        assert line["adopted_ms"] > 0
