"""How training grows with the dimensions."""

from tests.benchmarks.running import run_module


def test_a_row_for_every_number_of_dimensions():
    done = run_module(
        "benchmarks.embeddings.growth", "--dimensions", "32,48", "--levels", 6, "--vectors", 600
    )
    assert done.returncode == 0, done.stderr
    header, _, *rows = done.stdout.splitlines()
    assert header.startswith("| dimensions | training, s")
    assert [row.split("|")[1].strip() for row in rows] == ["32", "48"]
    assert all(float(row.split("|")[2]) > 0 for row in rows)
