"""A tiny comparison of codes for embeddings end to end."""

import json
from functools import partial

import numpy as np
import pytest

from tests.benchmarks.running import run_module

pytestmark = pytest.mark.slow  # whole comparisons, in processes of their own

METHODS = "drq,flat,pqfs,rabitq,sq,pca,sign,pq,opq,rq,prq,lsq"


run = partial(run_module, "benchmarks.embeddings.measure")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 6)) @ rng.normal(size=(6, 32)) + 0.3 * rng.normal(size=(1500, 32))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    np.save(folder / "minilm_base.npy", x[:1400].astype(np.float16))
    np.save(folder / "minilm_query.npy", x[1400:].astype(np.float16))
    return folder


@pytest.fixture(scope="module")
def options(folder):
    return (
        *("--data", folder, "--bytes", "2,4,8", "--slow-bytes", 4, "--levels", 8, "--runs", 1),
        *("--cache", folder / "cache", "--out", folder / "out"),
    )


@pytest.fixture(scope="module")
def codes(folder, options):
    done = run(*options, "--methods", METHODS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (folder / "out" / "minilm.md").read_text()
    return json.loads((folder / "out" / "minilm.json").read_text())["codes"]


def test_every_method_has_its_rows(codes):
    rows = [
        (row["method"], row["code_bytes"]) for row in codes if not row["oversampled"] and not row["norms"]
    ]
    lengths = {"DRQ": (2, 4, 8), "PQ fast-scan": (2, 4, 8), "PQ": (2, 4, 8)}
    expected = [*(("DRQ", m) for m in lengths["DRQ"]), ("float vectors", 4 * 32)]
    expected += [("PQ fast-scan", m) for m in lengths["PQ fast-scan"]]
    expected += [
        (f"{name}, {bits} bit", 8 * bits // 2 + factors)
        for name in ("RaBitQ", "RaBitQ fast-scan")
        for bits, factors in ((1, 8), (2, 20), (4, 20))
    ]
    expected += [("SQ4", 16), ("SQ8", 32), ("PCA8, SQ4", 4), ("PCA16, SQ4", 8), ("PCA16, RaBitQ, 2 bit", 24)]
    expected += [("sign bits", 4), *(("PQ", m) for m in (2, 4, 8))]
    expected += [(name, 4) for name in ("OPQ", "RQ", "PRQ", "LSQ")]
    assert [name for name, _ in rows] == [name for name, _ in expected]
    own = [row for row in rows if "RaBitQ" not in row[0]]
    assert own == [row for row in expected if "RaBitQ" not in row[0]]


def test_figures_are_possible(codes):
    for row in codes:
        assert 0 < row["found"]["10@10"] <= row["found"]["10@100"] <= 1
        assert 0 < row["found"]["1@10"] <= 1
        assert row["held_bytes"] >= row["code_bytes"]
        assert min(*row["costs"].values(), row["single_us"], row["batch_us"]) > 0
    drq = {row["code_bytes"]: row for row in one_stage(codes, "DRQ", norms=False)}
    assert drq[2]["found"]["10@10"] < drq[4]["found"]["10@10"] < drq[8]["found"]["10@10"]
    assert {row["held_bytes"] for row in drq.values()} == {8}  # inner products need no norms


def test_norms_are_held_and_find_more(codes):
    without, norms = (one_stage(codes, "DRQ", norms) for norms in (False, True))
    assert [row["code_bytes"] for row in norms] == [row["code_bytes"] for row in without]
    assert {row["held_bytes"] for row in norms} == {8 + 4}
    found = [np.mean([row["found"]["10@10"] for row in rows]) for rows in (without, norms)]
    assert found[0] < found[1]
    assert [row["held_bytes"] for row in one_stage(codes, "RQ")] == [4, 4 + 4]
    assert [row["method"] for row in codes if row["norms"] and row["oversampled"] == 0] == [
        *["DRQ"] * 3,
        "RQ",
        "PRQ",
        "LSQ",
    ]


def one_stage(codes, method, norms=None):
    """Return a method's searches that rank nothing again."""
    rows = [row for row in codes if row["method"] == method and not row["oversampled"]]
    return [row for row in rows if norms is None or row["norms"] == norms]


def test_ranking_again_finds_more_and_holds_more(codes):
    by_sign = {row["oversampled"]: row for row in codes if row["method"] == "sign bits"}
    assert list(by_sign) == [0, 4, 10]
    assert by_sign[0]["found"]["10@10"] < by_sign[4]["found"]["10@10"] < by_sign[10]["found"]["10@10"]
    assert [row["held_bytes"] for row in by_sign.values()] == [4, 36, 36]


def test_two_stages_hold_no_more(codes):
    two_stage = [row for row in codes if row["ranked_by"] == "all levels" and not row["norms"]]
    assert [(row["code_bytes"], row["oversampled"]) for row in two_stage] == [
        (1, 10),
        (1, 20),
        (2, 10),
        (2, 20),
    ]
    assert {row["held_bytes"] for row in two_stage} == {8}
    scanned = one_stage(codes, "DRQ", norms=False)[0]
    assert two_stage[-1]["found"]["10@10"] > scanned["found"]["10@10"]


def test_a_resumed_run_trains_what_is_missing(folder, options, codes):
    done = run(*options, "--methods", "drq,pqfs", "--bytes", "2,4,6,8", "--resume")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("minilm: ") and "-" in line] == [
        "minilm: PQ-fast-scan-6"
    ]
    after = json.loads((folder / "out" / "minilm.json").read_text())["codes"]
    assert [row["found"] for row in after[: len(codes)]] == [row["found"] for row in codes]
    assert [(row["method"], row["code_bytes"]) for row in after[len(codes) :]] == [
        ("DRQ", 6),
        ("DRQ", 6),
        ("PQ fast-scan", 6),
    ]
    assert after[-2]["costs"] == codes[0]["costs"]
    assert all(row["batch_us"] > 0 for row in after)


def test_any_file_is_a_set(folder, tmp_path):
    np.save(tmp_path / "mine.npy", np.load(folder / "minilm_base.npy").astype(np.float32))
    done = run("--data", tmp_path / "mine.npy", "--methods", "pqfs", "--bytes", 4, "--levels", 4, "--untimed",
               "--cache", tmp_path / "cache", "--out", tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "- Data: mine: " in done.stdout
    assert "| PQ fast-scan | 4 | 4 |" in done.stdout


def test_errors_name_what_was_expected(folder, tmp_path):
    assert "got a folder without embeddings" in run("--data", tmp_path).stderr
    assert "methods: got ['ash'], expected some of ['drq'" in run("--data", folder, "--methods", "ash").stderr
