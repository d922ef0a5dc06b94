"""A tiny speed run end to end, and what it says about its targets."""

import json
import shutil
from functools import partial

import numpy as np
import pytest

import drqfaiss
from tests.benchmarks.running import WARNINGS_FAIL, run_module

pytestmark = pytest.mark.slow  # whole comparisons, in processes of their own

GROUPS = ["search", "sizes", "single", "levels", "two-stage", "tables", "wide", "order", "subsets", "changes"]
GROUPS += ["avx2", "encode", "train"] if drqfaiss.simd_level() != "scalar" else ["encode", "train"]


run = partial(run_module, "benchmarks.speed.measure", python=WARNINGS_FAIL)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speed")
    # 12 dimensions: not every number of subspaces of PQ divides them.
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(3500, 12)).astype(np.float32))
    for cases in (",".join(group for group in GROUPS if group != "encode"), "encode"):
        done = run(*small(folder), "--cases", cases)
        assert done.returncode == 0, done.stderr
    return done.stdout, folder / f"speed-{drqfaiss.simd_level()}"


def small(folder, runs=1):
    size = ("--data", folder / "x.npy", "--n", 2000, "--max-learn", 1100)
    return *size, "--runs", runs, "--seconds", 0.001, "--out", folder


@pytest.fixture(scope="module")
def lines(results):
    return json.loads(results[1].with_suffix(".json").read_text())["lines"]


def test_every_group_is_measured(lines):
    assert list(dict.fromkeys(line["group"] for line in lines)) == GROUPS
    for line in lines:
        assert line["ratio"] == pytest.approx(line["peer_us"] / line["us"])
        assert line["us"] > 0


def test_met_says_whether_ratio_and_error_reach_the_target(lines):
    for line in lines:
        reached = line["target"] is None or line["ratio"] >= line["target"]
        exact = line["error"] is None or line["error"] <= 1.0001
        assert line["met"] == (None if line["target"] is None else reached and exact)


def test_encoding_finds_the_codes_faiss_finds(lines):
    errors = [line["error"] for line in lines if line["group"] == "encode"]
    assert len(errors) == 6
    assert max(errors) <= 1.001


def test_levels_are_told_and_kept_apart(lines):
    for line in lines:
        assert line["simd"] == ("avx2" if line["group"] == "avx2" else drqfaiss.simd_level())
        assert line["peer_simd"] in (None, "NONE", "AVX2") or line["group"] != "avx2"


def test_results_of_other_runs_are_dropped_only_when_asked(results, tmp_path):
    figures = results[1].with_suffix(".json")
    shutil.copytree(figures.parent, tmp_path, dirs_exist_ok=True)
    done = run(*small(tmp_path, runs=2), "--cases", "order")
    assert done.returncode == 1
    assert "holds results of other groups of cases with other Timing; expected the same" in done.stderr
    assert (tmp_path / figures.name).read_bytes() == figures.read_bytes()
    assert run(*small(tmp_path, runs=2), "--cases", "order", "--fresh").returncode == 0
    lines = json.loads((tmp_path / figures.name).read_text())["lines"]
    assert {line["group"] for line in lines} == {"order"}


def test_table_and_plot_are_saved(results, lines):
    table, stem = results
    assert table == stem.with_suffix(".md").read_text()
    assert table.count("\n| ") == 1 + len(lines)
    assert stem.with_suffix(".svg").read_bytes().startswith(b"<?xml")


def test_an_unknown_group_is_named():
    done = run("--cases", "search,scan")
    assert done.returncode == 2
    assert "['scan']; expected some of" in done.stderr
