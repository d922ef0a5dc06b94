QUICK = ("--runs", 1, "--seconds", 0, "--ranks", "1,100")


def test_every_index_gets_a_row_for_each_of_its_settings(files, run):
    told = run(
        "bench",
        files / "data.hdf5",
        "--factory",
        "DRQ2x4",
        "IVF8,Flat",
        "Flat",
        "--levels",
        "1,2",
        "--nprobe",
        "1,8",
        *QUICK,
    )
    assert (told["base"], told["queries"], told["d"]) == (600, 20, 16)
    settings = [(row["index"], row["levels"], row["nprobe"]) for row in told["rows"]]
    assert settings == [
        ("DRQ2x4", 1, None),
        ("DRQ2x4", 2, None),
        ("IVF8,Flat", None, 1),
        ("IVF8,Flat", None, 8),
        ("Flat", None, None),
    ]
    assert [row["1@1"] for row in told["rows"]][3:] == [1, 1]
    assert all(row["add µs/vector"] > 0 and row["µs/query"] > 0 for row in told["rows"])
    assert told["rows"][0]["1@100"] < told["rows"][1]["1@100"]


def test_data_are_cut_and_searched_by_inner_product(files, run):
    arguments = ("--max-base", 300, "--max-learn", 100, "--max-queries", 7, "--metric", "ip")
    told = run("bench", files / "data.hdf5", "--factory", "Flat", *arguments, *QUICK)
    assert (told["learn"], told["base"], told["queries"]) == (100, 300, 7)
    assert told["rows"][0]["1@1"] == 1


def test_errors_name_what_was_expected(files, fails, tmp_path):
    assert "no such file or directory" in fails("bench", tmp_path / "none")
    assert "FAISS cannot build 'PQ3'" in fails("bench", files / "data.hdf5", "--factory", "Flat", "PQ3")
