"""Which FAISS is installed: told by its binary, not by the version that it calls itself."""

from __future__ import annotations

import hashlib
import json
import mmap
import platform
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss

from drqfaiss._core import plugin
from drqfaiss._plugin.layout import address

Binary = bytes | mmap.mmap  # The content of an ELF file.
KNOWN: dict[str, Any] = json.loads(Path(__file__).with_name("known.json").read_text("utf-8"))
FLAT_CLASS = "_ZTVN5faiss22IndexResidualQuantizerE"
# Types of sections and of a note, from the ELF specification.
_NOTE_SECTION, _DYNAMIC_SYMBOLS, _BUILD_ID = 7, 11, 3


@dataclass(frozen=True)
class Identity:
    """The library that holds FAISS's classes in this process."""

    library: str  # The path of its file.
    build_id: str
    known: str | None  # The release it is; None if drqfaiss was not tested with it.


def identify() -> Identity:
    """Find FAISS's library.

    Raises:
        RuntimeError: If FAISS's classes are not in a library of this platform whose symbols are exported.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in KNOWN["builds"]:
        expected = " or ".join(KNOWN["builds"])
        raise RuntimeError(f"this is {sys.platform} on {machine}, expected linux on {expected}")
    probe = faiss.IndexResidualQuantizer(24, 3, 5)
    library, symbol = plugin.home(address(probe))
    if symbol != FLAT_CLASS:
        raise RuntimeError(
            f"the virtual table of an index in {library} is {symbol or 'no exported symbol'}, "
            f"expected {FLAT_CLASS}, as in faiss-cpu wheels from 1.14.2 on"
        )
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
        build_id = build_id_of(binary)
    return Identity(library, build_id, KNOWN["builds"][machine].get(build_id))


def require_known_functions(symbol: str) -> None:
    """Require that a class has the virtual functions that we know: a new one might go around ours.

    Raises:
        RuntimeError: Naming the first that differs.
    """
    seen, expected = plugin.virtual_functions(symbol), KNOWN["virtual_functions"][symbol]
    if len(seen) != len(expected):
        raise RuntimeError(f"{symbol} has {len(seen)} slots, expected {len(expected)}")
    for slot, (name, known) in enumerate(zip(seen, expected, strict=True)):
        if known and _one_destructor(name) != _one_destructor(known):
            raise RuntimeError(
                f"{symbol} has {name or 'no exported function'} in slot {slot}, expected {known}"
            )


def _one_destructor(name: str) -> str:
    """Name complete and base object destructor alike: where they are the same code, either may be found."""
    return re.sub(r"D[12]Ev$", "D1Ev", name)


def build_id_of(binary: Binary) -> str:
    """Return the build id that the linker wrote into an ELF file, or a hash of what the file exports."""
    for kind, section, _ in _sections(binary):
        if kind == _NOTE_SECTION:
            for owner, note, content in _notes(binary[section]):
                if (owner, note) == (b"GNU\0", _BUILD_ID):
                    return content.hex()
    return "exports-" + hashlib.sha256(_exports(binary)).hexdigest()[:40]


def _sections(binary: Binary) -> Iterator[tuple[int, slice, int]]:
    """Yield type, place and the number of the linked section, for each section of a 64-bit ELF file."""
    start = struct.unpack_from("<Q", binary, 40)[0]
    size, count = struct.unpack_from("<HH", binary, 58)
    for i in range(count if start else 0):
        _, kind, _, _, offset, length, link = struct.unpack_from("<IIQQQQI", binary, start + i * size)
        yield kind, slice(offset, offset + length), link


def _notes(section: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield owner, type and content of each note."""
    place = 0
    while place + 12 <= len(section):
        owner_size, size, kind = struct.unpack_from("<III", section, place)
        owner = place + 12
        content = owner + (owner_size + 3 & ~3)
        yield section[owner : owner + owner_size], kind, section[content : content + size]
        place = content + (size + 3 & ~3)


def _exports(binary: Binary) -> bytes:
    """Return the names of dynamic symbols, with the sizes of virtual tables; without any, the whole file."""
    sections = list(_sections(binary))
    lines = []
    for kind, symbols, link in sections:
        if kind != _DYNAMIC_SYMBOLS:
            continue
        names = binary[sections[link][1]]
        for start, _, _, _, _, size in struct.iter_unpack("<IBBHQQ", binary[symbols]):
            name = names[start : names.index(b"\0", start)]
            lines.append(name + b" %d" % size if name.startswith(b"_ZTV") else name)
    return b"\n".join(sorted(lines)) or binary[:]
