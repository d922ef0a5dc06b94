"""Measuring where FAISS's C++ objects have their fields: write a value, look for it in memory."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

INT32 = (0x5A17C0D, 0x33D1E0C)
INT64 = (0x5A17C0DE12345, 0x33D1E0CAFE777)
BOOL = (True, False, True)


def address(proxy: Any) -> int:
    """Return the address of the C++ object that a FAISS Python object stands for."""
    return int(proxy.this)


@dataclass
class Layout:
    """Offsets of fields by name, and how to tell that somebody reads one of them."""

    offsets: dict[str, int] = field(default_factory=dict)
    readings: list[tuple[str, int, str, Callable[[], Iterable[Any]]]] = field(default_factory=list)

    def measure(self, name: str, proxy: Any, attribute: str, kind: str, values: tuple[Any, ...]) -> None:
        """Find a field in an object on the heap by writing values to the attribute of its Python object."""
        start = address(proxy)
        self.measure_in(name, start, allocated(start), start, (proxy, attribute), kind, values)

    def measure_in(
        self,
        name: str,
        start: int,
        size: int,
        origin: int,
        place: tuple[Any, str],
        kind: str,
        values: tuple[Any, ...],
    ) -> None:
        """Find a field in the memory [start, start + size); its offset is counted from origin."""
        proxy, attribute = place
        before = getattr(proxy, attribute)

        def written() -> Iterable[Any]:
            try:
                for value in values:
                    setattr(proxy, attribute, value)
                    yield value
            finally:
                setattr(proxy, attribute, before)

        self.follow(name, start, size, origin, kind, written)

    def measure_pointer(self, name: str, proxy: Any, attribute: str, targets: list[Any]) -> None:
        """Find a field in an object on the heap that points to one of several targets, or to nothing."""
        start = address(proxy)

        def written() -> Iterable[int]:
            try:
                for target in targets:
                    setattr(proxy, attribute, target)
                    yield int(getattr(target, "this", target))
            finally:
                setattr(proxy, attribute, None)

        self.follow(name, start, allocated(start), start, "<Q", written)

    def follow(
        self,
        name: str,
        start: int,
        size: int,
        origin: int,
        kind: str,
        written: Callable[[], Iterable[Any]],
    ) -> None:
        """Find the field that holds each value that ``written`` yields, right after it yielded it."""
        found: set[int] | None = None
        for value in written():
            now = places(ctypes.string_at(start, size), kind, value)
            found = now if found is None else found & now
        self.put(name, start - origin + only(name, found or set()), origin, kind, written)

    def put(
        self, name: str, offset: int, origin: int, kind: str, written: Callable[[], Iterable[Any]]
    ) -> None:
        """Take a field whose place is known, and how to change what it holds."""
        self.offsets[name] = offset
        self.readings.append((name, origin, kind, written))

    def require_read(self, read: Callable[[int, str], int]) -> None:
        """Require that ``read(address of an object, name)`` returns the eight bytes at each field."""
        for name, origin, kind, written in self.readings:
            for value in written():
                expected = struct.pack(kind, value)
                seen = read(origin, name).to_bytes(8, "little")[: len(expected)]
                if seen != expected:
                    raise RuntimeError(
                        f"{name} was read wrongly: got {struct.unpack(kind, seen)[0]}, expected {value}"
                    )


def require_seen(what: str, seen: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Require that the plug-in reads from an object what its proxies say."""
    wrong = [
        f"{name} is {seen[name]}, expected {expected[name]}"
        for name in expected
        if seen[name] != expected[name]
    ]
    if wrong:
        raise RuntimeError(f"the {what} was read wrongly: " + "; ".join(wrong))


def require_room(name: str, proxy: Any, room: int) -> None:
    """Require that an object like this fits into the bytes that we set aside for one."""
    if (size := allocated(address(proxy))) > room:
        raise RuntimeError(f"{name} takes {size} bytes, expected at most {room}")


def allocated(start: int) -> int:
    """Return the bytes of a heap block; reading an object beyond them would be undefined."""
    usable_size = ctypes.CDLL(None).malloc_usable_size
    usable_size.restype, usable_size.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    return int(usable_size(start))


def word(start: int) -> int:
    """Return the pointer at an address."""
    return int.from_bytes(ctypes.string_at(start, 8), "little")


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
    """Return the only place, or raise RuntimeError."""
    if len(places) != 1:
        raise RuntimeError(f"{name} was found at {sorted(places) or 'no offset'}, expected exactly one")
    return places.pop()
