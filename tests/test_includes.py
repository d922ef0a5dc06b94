"""Arrows between the rooms of the C++ sources point down."""

import re
from pathlib import Path

CSRC = Path(__file__).parents[1] / "csrc"
# From the ground up; a file includes those of its own line and of the lines before it.
ROOMS = (
    ("core",),
    ("core/isa",),
    ("core/database", "core/luts"),  # which know the kernels that are active
    ("core/scan", "core/encode"),
    ("core/search",),
    ("core/search/lists",),
    ("index",),
    ("faiss_abi",),
    ("faiss_plugin", "faiss_cpp", "include"),
    ("python",),
)


def line(path):
    """The number of the line of a file, given its path below csrc without a suffix."""
    while path:
        found = [i for i, rooms in enumerate(ROOMS) if path in rooms]
        if found:
            return found[0]
        path = path.rpartition("/")[0]
    raise AssertionError("a file in no room")


def includes():
    """Pairs of files, the one that includes the other, as paths below csrc without suffixes."""
    for path in sorted(CSRC.rglob("*.*")):
        for name in re.findall(r'^#include "(.+)"', path.read_text(), re.MULTILINE):
            found = next(
                at for at in (CSRC / name, path.parent / name, CSRC / "include" / name) if at.exists()
            )
            yield tuple(str(file.relative_to(CSRC).with_suffix("")) for file in (path, found))


def test_every_include_points_down():
    arrows = list(includes())
    assert len(arrows) > 100
    assert [arrow for arrow in arrows if line(arrow[0]) < line(arrow[1])] == []


def test_only_one_folder_and_the_plugin_know_addresses():
    knowing = {file.partition("/")[0] for file, other in includes() if other.startswith("faiss_abi/")}
    assert knowing <= {"faiss_abi", "faiss_plugin", "python"}
