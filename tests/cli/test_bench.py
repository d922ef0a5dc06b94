import json

import pytest

from drqfaiss.cli import bench, main

QUICK = ("--runs", 1, "--seconds", 0)
SETTINGS = ("levels", "refine_factor", "nprobe", "k_factor")


def test_every_index_gets_a_row_for_each_of_its_settings(files, run):
    factories = ("DRQ2x4", "IVF8,Flat", "Flat", "DRQ2x4,RFlat")
    swept = ("--levels", "1,2", "--nprobe", "1,8", "--k-factor", "1,60", "--refine-factor", 0)
    told = run("bench", files / "data.hdf5", "--factory", *factories, *swept, *QUICK)
    assert (told["base"], told["queries"], told["d"]) == (600, 20, 16)
    assert [(row["index"], *(row[name] for name in SETTINGS)) for row in told["rows"]] == [
        ("DRQ2x4", 1, 0, None, None),
        ("DRQ2x4", 2, 0, None, None),
        ("IVF8,Flat", None, None, 1, None),
        ("IVF8,Flat", None, None, 8, None),
        ("Flat", None, None, None, None),
        ("DRQ2x4,RFlat", 1, 0, None, 1),
        ("DRQ2x4,RFlat", 1, 0, None, 60),
        ("DRQ2x4,RFlat", 2, 0, None, 1),
        ("DRQ2x4,RFlat", 2, 0, None, 60),
    ]
    recalls = [row["recall_k_at_k"] for row in told["rows"]]
    assert recalls[0] < recalls[1] < recalls[6] == recalls[3] == recalls[4] == 1
    assert all(row["us_per_vector"] > 0 and row["us_per_query"] > 0 for row in told["rows"])
    assert all(row["spread_percent"] is None for row in told["rows"])


def test_data_are_cut_and_searched_by_inner_product(files, run):
    arguments = ("--max-base", 300, "--max-learn", 100, "--max-queries", 7, "--metric", "ip")
    told = run("bench", files / "data.hdf5", "--factory", "Flat", *arguments, *QUICK)
    assert (told["learn"], told["base"], told["queries"]) == (100, 300, 7)
    assert told["rows"][0]["recall_1_at_1"] == 1


def test_options_reach_the_training(files, run):
    arguments = ("bench", files / "data.hdf5", "--factory", "DRQ3x4", *QUICK)
    usual, others = (
        run(*arguments, *given)["rows"][0] for given in ((), ("--layout", "shared", "--iterations", 1))
    )
    assert usual["recall_k_at_k"] != others["recall_k_at_k"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--factory", "Flat", "PQ3"], "FAISS cannot build 'PQ3'"),
        (["--factory", "Flat", "DRQ2x4", "--levels", "1,3"], "--levels: got 3, expected 0 (all) to 2"),
        (["--factory", "IVF8,Flat", "--nprobe", "9"], "--nprobe: got 9, expected 1 to 8"),
        (["--factory", "Flat", "--levels", "1"], "--levels: got it for Flat, expected an index that has it"),
        (["--factory", "DRQ2x4", "--k-factor", "2"], "--k-factor: got it for DRQ2x4, expected an index"),
        (["--factory", "Flat", "--beam", "2"], "--beam: got options of DRQ, expected DRQ in --factory"),
        (["--factory", "DRQ2x4", "--beam", "-1"], "--beam: got -1, expected 1 to"),
        (
            ["--factory", "DRQ2x4", "--max-learn", "9"],
            "data.hdf5: got 9 training vectors, expected at least the 16",
        ),
        (["--factory", "DRQ2x4", "-k", "601"], "-k: got 601, expected at most the 600 vectors"),
    ],
)
def test_everything_is_refused_before_training(files, fails, arguments, message, monkeypatch):
    monkeypatch.setattr(bench, "measure", None)
    assert message in fails("bench", files / "data.hdf5", *arguments)


def test_other_data_are_refused(fails, tmp_path):
    assert "no such file or directory" in fails("bench", tmp_path / "none")


def test_rows_appear_before_the_next_index_is_trained(files, capsys, monkeypatch):
    shown = []
    measure = bench.measure

    def observed(*arguments):
        shown.append(capsys.readouterr().out.splitlines()[-1:])
        yield from measure(*arguments)

    monkeypatch.setattr(bench, "measure", observed)
    arguments = ("bench", files / "data.hdf5", "--factory", "Flat", "DRQ2x4", "--quiet", *QUICK)
    assert main([*map(str, arguments)]) == 0
    assert [line[0].split()[0] if line else None for line in shown][1] == "Flat"


def test_json_comes_whole(files, capsys):
    arguments = ("bench", files / "data.hdf5", "--factory", "Flat", "--json", "--quiet", *QUICK)
    assert main([*map(str, arguments)]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert {type(row[name]) for name in ("us_per_query", "us_per_vector", "train_s", "recall_1_at_k")} == {
        float
    }
