"""What a request may ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from drqfaiss import _check


class TooMuchError(ValueError):
    """A request asks for more than it may."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a request may ask for; what is more is refused before any work.

    Attributes:
        body: bytes of a request.
        k: neighbours of a query.
        results: queries times neighbours.
        levels: levels that are scanned or ranked by; None: all that the index has.
        refine_factor: how many times as many vectors as results are ranked.
        nprobe: inverted lists; None: all that the index has.
        seconds: from the first byte of a request to its answer.
        waiting: requests that are being read or answered.
    """

    body: int = 16 * 2**20
    k: int = 1_000
    results: int = 1_000_000
    levels: int | None = None
    refine_factor: int = 1_000
    nprobe: int | None = None
    seconds: float = 10.0
    waiting: int = 256

    def __post_init__(self) -> None:
        """Require numbers that make sense; raise TypeError or ValueError that names one."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "seconds":
                if not 0 < _check.number("seconds", value) < math.inf:
                    raise ValueError(f"seconds: got {value}, expected a finite number above 0")
            elif value is not None:
                _check.integer(field.name, value, 1)

    def check(self, queries: int, k: int, settings: dict[str, int | None]) -> None:
        """Require a search within the limits.

        Raises:
            TooMuchError: it is not; names the setting.
        """
        if queries * k > self.results:
            raise TooMuchError(f"queries: got {queries} of {k} neighbours, expected {self.results} in all")
        most = {
            "levels": self.levels,
            "refine_levels": self.levels,
            "refine_factor": self.refine_factor,
            "nprobe": self.nprobe,
        }
        for name, given, allowed in [
            ("k", k, self.k),
            *((name, settings[name], allowed) for name, allowed in most.items()),
        ]:
            # 0 levels are all of them.
            everything = name.endswith("levels") and given == 0
            if allowed is not None and given is not None and (given > allowed or everything):
                raise TooMuchError(f"{name}: got {given}, expected at most {allowed}")
