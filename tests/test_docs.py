"""The code on a page of the documentation runs from top to bottom, as a reader would type it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    "index.md",
    "explain/ivf.md",
    "explain/supervised.md",
    "howto/cli.md",
    "howto/code-length.md",
    "howto/migrate.md",
    "howto/serve.md",
]
LINKED = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")]


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


def anchors(page):
    """The anchors of a page's headings, as GitHub and MkDocs write them."""
    titles = re.findall(r"^#+ (.+)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_files_hold(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target
