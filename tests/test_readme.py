"""README is short, its snippets run as a reader would type them, and its figures are the results'."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def snippets(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_python_snippets_run(tmp_path):
    # A process of its own: the snippets write files where they stand.
    code = "\n".join(snippets("python"))
    assert "IndexDRQ(" in code
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"x.faiss"}


def test_the_first_screen_has_the_picture_and_the_commands():
    first, lines = README.splitlines()[:20], README.splitlines()
    assert len(lines) <= 150
    assert any(line.startswith("![") for line in first)
    assert any(line.startswith("make demo") for line in first)
    assert any(line.startswith("make test") for line in first)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"\bmake ([a-z-]+)", README))
    assert targets >= {"demo", "test", "docs"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_results_are_a_table_of_the_demo():
    results = (ROOT / "benchmarks" / "results" / "demo.md").read_text()
    rows = [line for line in results.splitlines() if line.startswith(("| DRQ", "| PQ", "| OPQ", "| RQ"))]
    assert len(rows) == 20
    assert "- Machine:" in results


def test_figures_are_those_of_the_results():
    """Rows of README's table, as benchmarks/results has them."""
    results = (ROOT / "benchmarks" / "results" / "accuracy-sift.md").read_text()
    names = {"DRQ, one codebook": "DRQ level", "DRQ, own first codebook": "DRQ level own"}
    rows = re.findall(r"^\| ([\w ,]+) \| (\d+) k \| (\d+) \| (\.\d+) \| (\.\d+) \|$", README, re.MULTILINE)
    assert [name for name, *_ in rows] == [*names, "PQ", "OPQ", "RQ", "LSQ"]
    for name, floats, seconds, *recalls in rows:
        of_method = [
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in results.splitlines()
            if line.startswith(f"| {names.get(name, name)} | ")
        ]
        row = next(cells for cells in of_method if cells[1] == "8")
        trained = next(
            cells[4] for cells in of_method if cells[4] != "same" and (cells is row or row[4] == "same")
        )
        assert int(floats) == round(int(row[3].replace(",", "")) / 1000)
        assert int(seconds) == round(float(trained))
        assert [float(value) for value in recalls] == [float(cell.split()[0]) for cell in row[7:9]]


def test_ratios_are_those_of_the_results():
    lines = json.loads((ROOT / "benchmarks" / "results" / "speed-avx2.json").read_text())["lines"]

    def line(case, peer):
        return next(line for line in lines if (line["case"], line["peer"]) == (case, peer))

    adopted = line("adopted RQ qint8, L2, N = 1,000,000", "IndexRQ 8x8 qint8")
    assert f"takes {adopted['us'] / 1000:.1f} ms" in README
    assert f"FAISS's {adopted['peer_us'] / 1000:.1f} ms" in README
    for case in ("one query, L2, N = 1,000,000", "L2, N = 10,000, M = 8, k = 100"):
        assert f"{line(case, 'PQ fast-scan')['ratio']:.2f}" in README
    assert f"batches {line('L2, N = 1,000,000, M = 8, k = 10', 'PQ fast-scan')['ratio']:.1f}" in README
