"""A tiny comparison end to end, and its parts."""

import json
from functools import partial

import numpy as np
import pytest

from benchmarks.accuracy import report
from tests.benchmarks.running import WARNINGS_FAIL, run_module

pytestmark = pytest.mark.slow  # whole comparisons, in processes of their own

COMPARE = "benchmarks.accuracy.compare"


run = partial(run_module, COMPARE, python=WARNINGS_FAIL)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    # 18 dimensions: 4 subspaces of PQ do not divide them, so the padding is tried, too.
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(3000, 18)).astype(np.float32))
    out = folder / "out"
    options = ["--data", folder / "x.npy", "--bytes", "2,4", "--runs", 2, "--seconds", 0.001, "--out", out]
    done = run(*options)
    assert done.returncode == 0, done.stderr
    return done.stdout, out


def test_every_method_has_a_row_for_every_length(results):
    rows = json.loads((results[1] / "results.json").read_text())["rows"]
    methods = ["DRQ level", "PQ", "OPQ", "RQ", "PQ fast-scan"]
    assert [(r["method"], r["code_bytes"]) for r in rows] == [(m, b) for m in methods for b in (2, 4)]
    for row in rows:
        assert row["train_s"] > 0
        assert 0 < row["error"] < 1
        assert row["parameters"] >= 16 * 18
        assert row["encode_us"] > 0
        assert row["search_us"] > 0
        assert 0 <= row["recall"]["1"] <= row["recall"]["10"] <= row["recall"]["100"] <= 1


def test_memory_counts_norms_and_the_whole_code(results):
    rows = json.loads((results[1] / "results.json").read_text())["rows"]
    memory = {(row["method"], row["code_bytes"]): row["memory_bytes"] for row in rows}
    assert (memory["DRQ level", 2], memory["DRQ level", 4]) == (8, 8)
    assert (memory["RQ", 2], memory["RQ", 4]) == (6, 8)
    assert (memory["PQ", 4], memory["OPQ", 4], memory["PQ fast-scan", 4]) == (4, 4, 4)


def test_drq_trains_once(results):
    rows = json.loads((results[1] / "results.json").read_text())["rows"]
    assert len({row["train_s"] for row in rows if row["method"] == "DRQ level"}) == 1


def test_table_and_plots_are_saved(results):
    table, out = results
    assert table == (out / "results.md").read_text()
    assert table.count("\n| ") == 11
    for name in ("recall-bytes.svg", "recall-speed.svg"):
        assert (out / name).read_bytes().startswith(b"<?xml")


def test_every_seed_and_model_has_its_rows_and_a_resumed_run_keeps_them(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(2600, 72)).astype(np.float32))
    options = ["--data", tmp_path / "x.npy", "--bytes", "1,9", "--seeds", 2, "--untimed"]
    options += ["--runs", 1, "--seconds", 0.001, "--out", tmp_path / "out"]
    assert run(*options, "--methods", "itq,rabitq").returncode == 0
    done = run(*options, "--methods", "drq,itq,rq9", "--drq", "level+own,level+9bit", "--drq-levels", "1,9",
               "--resume")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ITQ: training" not in done.stderr
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    models = {(r["method"], r["levels"], r["code_bytes"], r["seed"]) for r in rows}
    expected = [("ITQ", 0, 1), ("ITQ", 0, 9), ("RaBitQ", 0, 9)]
    expected += [("DRQ level own", levels, 1) for levels in (1, 9)] + [("DRQ level own", 9, 9)]
    expected += [("DRQ level 9bit", 8, 9), ("RQ 9bit", 0, 9)]
    assert models == {(*model, seed) for model in expected for seed in (0, 1)}
    assert len(rows) == len(models)
    assert {r["error"] is None for r in rows if r["method"] == "ITQ"} == {True}
    assert "| DRQ level own, 9 levels | 1 |" in done.stdout
    assert " ± " in done.stdout


def test_times_are_medians_over_the_seeds():
    times = [(9.0, 70.0, "NONE"), (2.0, 50.0, "AVX2"), (3.0, 60.0, "AVX2")]
    rows = [
        report.Row("PQ", 0, seed, 2, 2, 512, train, encode, simd, 0.5, {1: 0.1})
        for seed, (train, encode, simd) in enumerate(times)
    ]
    assert "| 3.0 | 60 [AVX2] |" in report.markdown({}, rows)
    assert "| 9.0 | 70 [NONE] |" in report.markdown({}, rows[:1])
    assert "| 2.0 | 50 [AVX2] |" in report.markdown({}, rows[:2])


def test_learn_vectors_leave_the_base(tmp_path):
    x = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    np.save(tmp_path / "set_base.npy", x)
    np.save(tmp_path / "set_query.npy", x[:10] + 1)
    done = run("--data", tmp_path / "set", "--split-learn", 1000, "--bytes", 1, "--methods", "pq",
               "--runs", 1, "--seconds", 0.001, "--out", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "learn 1,000, base 2,000, queries 10" in done.stdout


def test_held_out_vectors_come_from_the_learn_set(tmp_path):
    x = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
    for name, part in {"learn": x, "base": x[:20], "query": x[:10]}.items():
        np.save(tmp_path / f"set_{name}.npy", part)
    done = run("--data", tmp_path / "set", "--hold-out", 100, "--max-learn", 400, "--bytes", 1,
               "--methods", "pq", "--untimed", "--runs", 1, "--out", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "learn 400, base 450, queries 100" in done.stdout


def test_an_unknown_method_is_named():
    done = run("--methods", "pq,lsh")
    assert done.returncode == 2
    assert "methods ['lsh']; expected some of" in done.stderr


def test_an_unknown_variant_is_named():
    done = run("--drq", "level+wide")
    assert done.returncode == 2
    assert "DRQ 'wide'; expected one of ['own', 'geometric'" in done.stderr


def test_missing_data_is_named(tmp_path):
    done = run("--data", tmp_path / "none")
    assert done.returncode != 0
    assert "no such file or directory" in done.stderr
