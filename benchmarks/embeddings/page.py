"""Writes the tables of docs/lab/embeddings.md from ``benchmarks/results/embeddings``: `make pictures`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.common import report as common
from benchmarks.embeddings import report
from benchmarks.embeddings.report import Row, share

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "embeddings"
PAGE = ROOT / "docs" / "lab" / "embeddings.md"
# Codes of any length, in the order of the first table.
OF_ANY_LENGTH = ("DRQ", "OPQ", "PQ", "PQ fast-scan", "RQ", "PRQ", "LSQ")
NOT_RUN = ""


def main() -> None:
    PAGE.write_text(renewed(PAGE.read_text()))


def renewed(page: str) -> str:
    """Return the page with new tables between its marks, such as <!-- minilm --> and <!-- end minilm -->."""
    for path in sorted(RESULTS.glob("*.json")):
        rows = list(report.rows_of(json.loads(path.read_text())).values())
        begin, end = f"<!-- {path.stem} -->\n", f"<!-- end {path.stem} -->"
        tables = "\n\n".join([lengths(rows), own_lengths(rows), refined(rows)])
        page = re.sub(
            re.escape(begin) + ".*?" + re.escape(end),
            lambda _, new=f"{begin}\n{tables}\n\n{end}": new,
            page,
            flags=re.DOTALL,
        )
    return page


def lengths(rows: list[Row]) -> str:
    """Lay out 10@10 of codes of any length: a line for each code, the best of every length in bold."""
    found = {(row.method, row.code_bytes): row.found["10@10"] for row in rows if not row.oversampled}
    names = [name for name in OF_ANY_LENGTH if any(method == name for method, _ in found)]
    columns = sorted({m for method, m in found if method in names})
    best = {m: max(found.get((name, m), 0) for name in names) for m in columns}

    def cell(name: str, m: int) -> str:
        if (name, m) not in found:
            return NOT_RUN
        value = share(found[name, m])
        return f"**{value}**" if found[name, m] == best[m] else value

    lines = [[name, *(cell(name, m) for m in columns)] for name in names]
    return table(["10@10 at so many bytes", *map(str, columns)], lines)


def own_lengths(rows: list[Row]) -> str:
    """Lay out codes whose length is their own, each beside DRQ of at most as many bytes."""
    lines = []
    for row in rows:
        if row.method in OF_ANY_LENGTH or row.oversampled:
            continue
        shorter = [r for r in rows if r.ours and not r.oversampled and r.code_bytes <= row.held_bytes]
        drq = max(shorter, key=lambda r: r.code_bytes, default=None)
        lines.append(
            [
                row.method,
                str(row.held_bytes),
                share(row.found["10@10"]),
                _us(row),
                *(
                    ["", "", ""]
                    if drq is None
                    else [str(drq.code_bytes), share(drq.found["10@10"]), _us(drq)]
                ),
            ]
        )
    return table(["code", "bytes", "10@10", "batch, µs", "DRQ, bytes", "10@10", "batch, µs"], lines)


def refined(rows: list[Row]) -> str:
    """Lay out searches whose candidates are ranked again."""
    lines = [
        [
            row.title,
            str(row.code_bytes),
            str(row.held_bytes),
            share(row.found["10@10"]),
            _us(row, "single_us"),
            _us(row),
        ]
        for row in rows
        if row.oversampled
    ]
    columns = [
        "code, and ranked again",
        "bytes compared",
        "bytes held",
        "10@10",
        "one query, µs",
        "batch, µs",
    ]
    return table(columns, lines)


def _us(row: Row, field: str = "batch_us") -> str:
    value = getattr(row, field)
    return "" if value is None else common.timed(value, None)


def table(columns: list[str], lines: list[list[str]]) -> str:
    """Return a table without header and notes."""
    return common.page({}, columns, lines, "").strip()


if __name__ == "__main__":
    main()
