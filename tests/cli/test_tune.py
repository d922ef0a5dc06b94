import json
import sys

import numpy as np
import pytest

import drqfaiss
from drqfaiss.cli import main
from drqfaiss.cli import tune as command
from drqfaiss.evaluation import exact_neighbours
from tests.indexes import make_vectors


@pytest.fixture
def index(files, tmp_path):
    """An index file to keep a setting beside, and queries, as arguments."""
    (tmp_path / "x.faiss").write_bytes((files / "filled.faiss").read_bytes())
    queries = make_vectors(300, seed=3)
    np.save(tmp_path / "query.npy", queries)
    np.save(tmp_path / "truth.npy", exact_neighbours(np.load(files / "base.npy"), queries, 10))
    return tmp_path / "x.faiss", tmp_path / "query.npy"


@pytest.mark.parametrize("given", ["--groundtruth", "--base", None])
def test_a_setting_is_found(index, files, run, given, tmp_path):
    truth = {"--groundtruth": tmp_path / "truth.npy", "--base": files / "base.npy"}
    told = run("tune", *index, "--recall", 0.1, *([given, truth[given]] if given else []))
    assert told["reached"]
    assert 0.1 <= told["low"] < told["recall"] <= told["high"]
    assert {type(told[name]) for name in ("recall", "us_per_query", "asked")} == {float}
    assert (told["k"], told["threads"]) == (10, 1)
    assert [name for name in ("levels", "nprobe") if name in told] == ["levels"]
    assert told["levels"] in [row["levels"] for row in told["rows"]]
    assert told["against"].startswith("an estimate") == (given is None)


def test_a_front_is_drawn(index, run, tmp_path):
    run("tune", *index, "--recall", 0.1, "--plot", tmp_path / "front.svg")
    assert (tmp_path / "front.svg").read_text().startswith("<?xml")


def test_a_setting_is_kept(index, run, tmp_path):
    told = run("tune", *index, "--recall", 0.1, "--save")
    assert told["saved"] == str(tmp_path / "x.drq.json")
    assert drqfaiss.read_index(index[0], tuned=True).levels == told["levels"]
    assert json.loads((tmp_path / "x.drq.json").read_text())["recall"] == told["recall"]


def test_people_read_a_table(index, capsys):
    assert main(["tune", *map(str, index), "--recall", "0.1", "--quiet"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert max(map(len, out)) <= 80
    assert [line.split()[0] for line in out[:2]] == ["index:", "levels:"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recall", "1.5"], "--recall: got 1.5, expected a share above 0 and below 1"),
        (["--recall", "0.99"], "queries: got 300, expected at least"),
        (["--max-us", "-1"], "--max-us: got -1, expected more than 0"),
        (["--plot", "front.txt"], "front.txt: got suffix '.txt', expected one of .svg, .png, .pdf"),
        (["--plot", "none/front.svg"], "the folder none does not exist"),
        (["--groundtruth", "none.npy"], "none.npy: no such file"),
    ],
)
def test_errors_name_what_was_expected(index, fails, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("drqfaiss._tuning.measuring.Measuring._measure", None)
    assert message in fails("tune", *index, *arguments)


def test_a_plot_needs_matplotlib(index, fails, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(command, "tune", None)
    assert "a plot needs matplotlib: pip install matplotlib" in fails(
        "tune", *index, "--plot", tmp_path / "x.svg"
    )


def test_other_indexes_are_refused(files, fails):
    told = fails("tune", files / "ivf.faiss", files / "query.npy", "--recall", 0.5)
    assert "index: got IndexIVFFlat, expected an index with levels" in told
    assert "trained.faiss: got an index without vectors" in fails(
        "tune", files / "trained.faiss", files / "query.npy"
    )
