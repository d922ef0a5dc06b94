"""One list of the FAISS releases that the plug-in works in: everything else that names them agrees."""

import re
from pathlib import Path

import pytest

from drqfaiss._plugin.identity import KNOWN

ROOT = Path(__file__).parents[2]
BUILDS = {machine: sorted(builds.values()) for machine, builds in KNOWN["builds"].items()}
RELEASES = [build.removeprefix("faiss-cpu ") for build in BUILDS["x86_64"]]


def test_every_release_is_known_on_every_machine():
    assert BUILDS["aarch64"] == BUILDS["x86_64"]
    builds = [build for builds in KNOWN["builds"].values() for build in builds]
    assert len(set(builds)) == 2 * len(RELEASES)


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
