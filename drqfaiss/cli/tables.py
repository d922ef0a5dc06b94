"""Results for people: names and values in lines, rows in columns that appear as they come; drawn by rich.

On a terminal long values are folded to its width, and heads are bold. What a program or a file gets is plain,
and as wide as it is.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
UNLIMITED = 10_000  # Columns: rich shortens what has too few.
LEAST_WIDTH = 20  # Of a value that is folded.
DRAWN_AT_ONCE = 256  # Rows: cells of many lines are quicker than many cells.
NUMBER_WIDTH = 5  # Numbers have at most four digits, a point and a sign.
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


def terminal() -> tuple[Console, int | None]:
    """Return stdout to rich, and the columns to fold to if it is a terminal."""
    shown = sys.stdout.isatty()
    console = Console(force_terminal=shown, width=UNLIMITED, highlight=False, markup=False, emoji=False)
    return console, shutil.get_terminal_size().columns if shown else None


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


def lines(result: Row, console: Console, columns: int | None = None) -> Iterator[str]:
    """Lay out names and values, a line each, folded to ``columns`` if given, and rows as a table."""
    values = {f"{label(name)}:": cell(value) for name, value in result.items() if name != "rows"}
    if values:
        room = None if columns is None else max(LEAST_WIDTH, columns - max(map(len, values)) - 1)
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(max_width=room and max(room, *_words(values.values())))  # A path, say, stays whole.
        for name, value in values.items():
            grid.add_row(Text(name), Text(value))
        yield from _drawn(grid, console)
    rows = result.get("rows", [])
    yield from _growing(rows, console) if isinstance(rows, Rows) else _whole(rows, console)


def _whole(rows: Sequence[Row], console: Console) -> Iterator[str]:
    """Yield the lines of a table of rows that are all there."""
    if rows:
        widths = {key: max(len(cell(row[key])) for row in rows) for key in rows[0]}
        parts = (rows[begin : begin + DRAWN_AT_ONCE] for begin in range(0, len(rows), DRAWN_AT_ONCE))
        yield from _parts(parts, widths, console)


def _growing(rows: Rows, console: Console) -> Iterator[str]:
    """Yield the lines of a table as its rows come: the first, and the widest, say how wide columns are."""
    shown = ({key: value for key, value in row.items() if key not in rows.hidden} for row in rows.rows)
    for first in shown:
        widths = {
            key: max(
                len(cell(value)),
                len(cell(rows.widest.get(key, ""))),
                0 if isinstance(value, str) else NUMBER_WIDTH,
            )
            for key, value in first.items()
        }
        yield from _parts(([row] for row in chain([first], shown)), widths, console)


def _parts(parts: Iterable[Sequence[Row]], widths: Mapping[str, int], console: Console) -> Iterator[str]:
    """Yield the lines of a table that is drawn in parts, the first of them with heads.

    Names of several words take several lines; the last words stand directly above the values.
    """
    heads = {key: re.sub(r"(?<=/)| ", "\n", label(key)).split("\n") for key in widths}
    for number, rows in enumerate(parts):
        part = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=not number)
        part.header_style = "none" if console.no_color else "bold"
        for key, head in heads.items():
            least = max(widths[key], *map(len, head))
            part.add_column(
                "\n".join(head), justify="right", vertical="bottom", min_width=least, no_wrap=True
            )
        part.add_row(*(Text("\n".join(cell(row[key]) for row in rows)) for key in heads))
        yield from _drawn(part, console)


def _drawn(table: Table, console: Console) -> Iterator[str]:
    """Yield the lines of a table, without blanks at their ends."""
    with console.capture() as captured:
        console.print(table)
    yield from map(str.rstrip, captured.get().splitlines())


def _words(texts: Iterable[str]) -> list[int]:
    """Return the lengths of words."""
    return [len(word) for text in texts for word in text.split()]
