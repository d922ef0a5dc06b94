"""What tuning found: a setting, what it is worth, and what others are worth."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import faiss

from drqfaiss._indexes.setting_file import write_setting
from drqfaiss._indexes.settings import Setting


@dataclass(frozen=True)
class TunedPoint:
    """A setting, its recall and its time, by the queries that choose."""

    __module__ = "drqfaiss"  # Where users and pickles find it.

    setting: Setting
    recall: float
    us_per_query: float


@dataclass(frozen=True)
class Tuned:
    """The fastest setting found that reaches a recall, see `tune`.

    Attributes:
        setting: levels, refine_levels, refine_factor, nprobe and k_factor; None: the index has none.
        recall: k@k of that setting, on queries that did not choose it.
        low: the recall is at least this, with 95 % confidence in both bounds together.
        high: and at most this.
        us_per_query: time of a query, in µs, in a search for all of them at once; alone, if ``single``.
        reached: whether ``low`` is at least the recall asked for, and the time within ``max_us``.
        k: neighbours of the searches.
        asked: the recall asked for.
        max_us: the most µs a query may take; None: any number.
        threads: of the searches.
        single: whether times are of searches for one query each.
        against: what the neighbours are that recall counts.
        queries: how many told the recall.
        front: settings than which no other is both faster and better, fastest first.
    """

    __module__ = "drqfaiss"  # Where users and pickles find it.

    setting: Setting
    recall: float
    low: float
    high: float
    us_per_query: float
    reached: bool
    k: int
    asked: float
    max_us: float | None
    threads: int
    single: bool
    against: str
    queries: int
    front: list[TunedPoint] = field(repr=False)
    shape: dict[str, Any] = field(repr=False)

    def apply(self, index: faiss.Index) -> None:
        """Let an index search with this setting from now on, when no parameters are passed.

        Raises:
            ValueError: it is an index of another kind.
        """
        self.setting.apply(index)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all this beside an index file, ``index.drq.json`` for ``index.faiss``; return its name.

        ``read_index(path, tuned=True)`` applies the setting.

        Raises:
            OSError: the file cannot be written.
        """
        return write_setting(path, self.shape, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return all this as plain names and values, for JSON."""
        plain = asdict(self)
        del plain["shape"]
        plain["setting"] = self.setting._asdict()
        plain["front"] = [
            {**point.setting._asdict(), "recall": point.recall, "us_per_query": point.us_per_query}
            for point in self.front
        ]
        return plain

    def __repr__(self) -> str:
        """Say it in lines of at most 80 characters."""
        query = "single query" if self.single else "query"
        time = f"{self.us_per_query:,.1f} µs a {query} on {self.threads} thread{'s' * (self.threads > 1)}"
        lines = [
            named(self.setting),
            f"recall {self.k}@{self.k} {self.recall:.4f} ({self.low:.4f} to {self.high:.4f}), {time}",
            f"by {self.queries:,} queries that did not choose it,",
            f"against {self.against}",
        ]
        if not self.reached:
            limit = "" if self.max_us is None else f" within {self.max_us:g} µs"
            lines.append(f"The recall asked for, {self.asked:g}, is out of reach{limit}: this is the best.")
        return "\n".join([*lines, "", *self.table()])

    def table(self) -> list[str]:
        """Return the front in lines, the chosen setting with an asterisk."""
        columns = [name for name in Setting._fields if any(getattr(p.setting, name) for p in self.front)]
        head = ["", "recall", "µs/query", *columns]
        rows = [head] + [
            [
                "*" if point.setting == self.setting else "",
                f"{point.recall:.4f}",
                f"{point.us_per_query:.1f}",
                *(f"{getattr(point.setting, name) or '-'}" for name in columns),
            ]
            for point in self.front
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        padded = ([f"{text:>{width}}" for text, width in zip(row, widths, strict=True)] for row in rows)
        return ["  ".join(row) for row in padded]


def named(setting: Setting) -> str:
    """Write a setting for people."""
    values = {name: value for name, value in setting._asdict().items() if value is not None}
    return ", ".join(f"{name}={value:g}" for name, value in values.items())
