"""The code on a page of the documentation runs from top to bottom, as a reader would type it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ["cli.md"]


def script(page):
    """One Python program of all Python and shell snippets, in their order."""
    blocks = re.findall(r"^```(python|bash)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    shell = "import subprocess; subprocess.run(['bash', '-euc', {!r}], check=True)\n"
    return "".join(code if language == "python" else shell.format(code) for language, code in blocks)


@pytest.mark.parametrize("name", PAGES)
def test_snippets_run(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    code = script((DOCS / name).read_text())
    assert "drqfaiss" in code
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
