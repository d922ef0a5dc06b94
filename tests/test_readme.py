"""Every snippet of the README is run: Python ones in order, in one namespace, as a reader would type them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def snippets(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_python_snippets_run(tmp_path):
    # A process of its own: the snippets write files where they stand.
    code = "\n".join(snippets("python"))
    assert "IndexDRQ(" in code
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"x.faiss", "quantizer.npz"}


@pytest.mark.parametrize("snippet", snippets("bash"))
def test_bash_snippets_run(snippet, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    done = subprocess.run(["bash", "-euc", snippet], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_make_targets_exist():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    targets = set(re.findall(r"\bmake ([a-z-]+)", README))
    assert targets >= {"demo", "test", "bench"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_results_are_a_table_of_the_demo():
    results = README.split("<!-- results: begin -->")[1].split("<!-- results: end -->")[0]
    rows = [line for line in results.splitlines() if line.startswith(("| DRQ", "| PQ", "| OPQ", "| RQ"))]
    assert len(rows) == 20
    assert "- Machine:" in results
