"""Measuring where FAISS's C++ objects have their fields: write a value, look for it in memory."""

import ctypes
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

INT32 = (0x5A17C0D, 0x33D1E0C)
INT64 = (0x5A17C0DE12345, 0x33D1E0CAFE777)
BOOL = (True, False, True)


def address(proxy: Any) -> int:
    """Return the address of the C++ object that a FAISS Python object stands for."""
    return int(proxy.this)


def require_seen(what: str, seen: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Require that the plug-in reads from an object what its proxies say."""
    wrong = [
        f"{name} is {seen[name]}, expected {expected[name]}"
        for name in expected
        if seen[name] != expected[name]
    ]
    if wrong:
        raise RuntimeError(f"the {what} was read wrongly: " + "; ".join(wrong))


def allocated(start: int) -> int:
    """Return the bytes of a heap block; reading an object beyond them would be undefined."""
    usable_size = ctypes.CDLL(None).malloc_usable_size
    usable_size.restype, usable_size.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    return int(usable_size(start))


def field(proxy: Any, name: str, kind: str, values: Iterable[Any], start: int, size: int) -> int:
    """Return the offset of an attribute in [start, start + size), restoring its value."""
    before = getattr(proxy, name)
    try:
        return followed(name, kind, values, lambda value: setattr(proxy, name, value), start, size)
    finally:
        setattr(proxy, name, before)


def followed(
    name: str, kind: str, values: Iterable[Any], write: Callable[[Any], None], start: int, size: int
) -> int:
    """Return the only offset that holds each of the values right after it was written."""
    found: set[int] | None = None
    for value in values:
        write(value)
        now = places(ctypes.string_at(start, size), kind, value)
        found = now if found is None else found & now
    return only(name, found or set())


def places(memory: bytes, kind: str, value: Any) -> set[int]:
    """Return the aligned offsets that hold the value."""
    pattern = struct.pack(kind, value)
    found = set()
    place = memory.find(pattern)
    while place >= 0:
        if place % len(pattern) == 0:
            found.add(place)
        place = memory.find(pattern, place + 1)
    return found


def only(name: str, places: set[int]) -> int:
    if len(places) != 1:
        raise RuntimeError(f"{name} was found at {sorted(places) or 'no offset'}, expected exactly one")
    return places.pop()
