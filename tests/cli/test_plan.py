import numpy as np
import pytest

import drqfaiss
from drqfaiss.cli import main


@pytest.fixture
def sample(tmp_path):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(2_300, 4)) @ rng.normal(size=(4, 4))).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    return tmp_path / "x.npy"


def test_an_index_is_chosen(sample, run, tmp_path):
    np.save(tmp_path / "query.npy", np.load(sample)[:150])
    told = run(
        "plan", sample, "-n", 9_000, "--recall", 0.5, "--quality", "fast", "--queries", tmp_path / "query.npy"
    )
    assert told["reached"]
    assert told["recall"] >= 0.5
    assert (told["n"], told["d"], told["k"], told["metric"]) == (9_000, 4, 10, "l2")
    assert told["codes bytes/vector"] + told["norms bytes/vector"] == told["bytes_per_vector"]
    assert told["description"] in [row["description"] for row in told["rows"]]
    assert type(drqfaiss.index_factory(4, told["description"])) is drqfaiss.IndexDRQ


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "9kB"], "memory: got 9,000 bytes, expected at least"),
        (["--recall", "1.5"], "recall: got 1.5, expected a share above 0 and below 1"),
        (["--recall", "0.5", "--sample", "100"], "sample: got 100 vectors, expected at least 2,000"),
    ],
)
def test_errors_name_what_was_expected(sample, fails, arguments, message):
    assert message in fails("plan", sample, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "got neither --memory nor --recall, expected at least one of them"),
        (["--memory", "2XB"], "got unit 'XB', expected one of B, KB, MB, GB, TB, KIB"),
        (["--memory", "GB"], "got 'GB', expected a number of bytes, such as 500MB or 2GiB"),
        (["--memory", "2,4"], "got '2,4', expected a number of bytes"),
        (["--memory", "-2GB"], "memory"),
    ],
)
def test_bad_usage_is_one_line(sample, arguments, message, capsys):
    assert main(["plan", str(sample), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("300000", 3e5), ("300kB", 3e5), ("0.3 MB", 3e5), ("3e5B", 3e5), ("1MiB", 2.0**20), ("1gb", 1e9)],
)
def test_bytes_may_have_a_unit(sample, run, text, size, monkeypatch):
    asked = {}
    monkeypatch.setattr("drqfaiss.cli.plan.plan", lambda n, d, **options: asked.update(options) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("plan", sample, "--memory", text)
    assert asked["memory"] == size
