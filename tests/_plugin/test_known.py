"""One list of the FAISS releases that the plug-in works in: everything else that names them agrees."""

import re
from pathlib import Path

import pytest

from drqfaiss._plugin.identity import KNOWN

ROOT = Path(__file__).parents[2]
RELEASES = sorted(build.removeprefix("faiss-cpu ") for build in KNOWN["builds"].values())


def test_the_makefile_tests_them_all():
    pinned = re.search(r"^faiss-cpu==(\S+)", (ROOT / "constraints.txt").read_text(), re.M)[1]
    wheels = re.search(r"^WHEELS := ([^#\n]+)", (ROOT / "Makefile").read_text(), re.M)[1].split()
    assert sorted([*wheels, pinned]) == RELEASES


def test_pip_takes_any_newer_one():
    dependency = re.search(r'"faiss-cpu([^"]*)"', (ROOT / "pyproject.toml").read_text())[1]
    assert dependency == ">=1.8"


@pytest.mark.parametrize("release", RELEASES)
def test_the_documentation_names_them(release):
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(release in page.read_text() for page in pages)
