"""Results for people: names and values in lines, rows in columns that appear as they come."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any

Row = Mapping[str, Any]
# Keys are plain for programs; people read these, or the key with blanks in it.
LABELS = {
    "us_per_query": "µs/query",
    "us_per_vector": "add µs/vector",
    "recall_1_at_1": "1@1",
    "recall_1_at_k": "1@k",
    "recall_k_at_k": "k@k",
    "spread_percent": "spread %",
    "faiss_simd": "FAISS SIMD",
    "simd_level": "SIMD level",
    "train_s": "train s",
    "inside_faiss": "inside FAISS",
    "not_inside_faiss": "not inside FAISS",
}


@dataclass(frozen=True)
class Rows:
    """Rows that are still being measured.

    Attributes:
        rows: gives them, each when it is there.
        widest: values that take the most room, by column.
        hidden: columns that people need not see.
    """

    rows: Iterator[dict[str, Any]]
    widest: Row = field(default_factory=dict)
    hidden: Sequence[str] = ()


def label(key: str) -> str:
    """Return what people read in the place of a key."""
    return LABELS.get(key, key.replace("_", " "))


def cell(value: Any) -> str:
    """Write a value for people."""
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def lines(result: Row, columns: int | None = None) -> Iterator[str]:
    """Lay out names and values, a line each, folded to ``columns`` if given, and rows as a table."""
    values = {label(name): cell(value) for name, value in result.items() if name != "rows"}
    width = max(map(len, values), default=0) + 2
    for name, value in values.items():
        parts = [value] if columns is None else folded(value, max(20, columns - width))
        yield f"{name + ':':<{width}}" + ("\n" + " " * width).join(parts)
    rows = result.get("rows", [])
    yield from table(rows) if isinstance(rows, list) else growing_table(rows)


def folded(text: str, width: int) -> list[str]:
    """Break a long text into lines; a word, a path for example, stays whole."""
    if len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def table(rows: Sequence[Row]) -> list[str]:
    """Return names and values in columns; names of several words take several lines."""
    if not rows:
        return []
    heads = _heads(rows[0])
    cells = [*heads, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [_line(line, widths) for line in cells]


def growing_table(rows: Rows) -> Iterator[str]:
    """Yield the lines of a table as its rows come: the first, and the widest, say how wide columns are."""
    shown = ({key: value for key, value in row.items() if key not in rows.hidden} for row in rows.rows)
    first = next(shown, None)
    if first is None:
        return
    heads = _heads(first)
    cells = [*heads, _cells(first), [cell(rows.widest.get(key, "")) for key in first]]
    # Of numbers, which have at most four digits, a point and a sign, later ones may be the wider ones.
    room = [0 if isinstance(value, str) else 5 for value in first.values()]
    widths = [
        max(least, *map(len, column)) for least, column in zip(room, zip(*cells, strict=True), strict=True)
    ]
    yield from (_line(line, widths) for line in heads)
    for row in chain([first], shown):
        yield _line(_cells(row), widths)


def _heads(row: Row) -> list[Sequence[str]]:
    """Return the lines of a table's head; the last words stand directly above the values."""
    names = [re.findall(r"[^ /]+/?", label(key)) for key in row]
    return [*reversed([*zip_longest(*map(reversed, names), fillvalue="")])]


def _cells(row: Row) -> list[str]:
    return [cell(value) for value in row.values()]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{text:>{width}}" for text, width in zip(cells, widths, strict=True)).rstrip()
