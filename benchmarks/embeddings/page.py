"""Writes the tables of pages on embeddings from ``benchmarks/results/embeddings``: `make pictures`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.common import report as common
from benchmarks.embeddings import report
from benchmarks.embeddings.methods import OWN_LEVELS
from benchmarks.embeddings.report import NORMS, Row, share
from benchmarks.embeddings.sets import SETS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "embeddings"
LAB, HOW_TO = (ROOT / "docs" / folder / "embeddings.md" for folder in ("lab", "howto"))
# Codes of any length, in the order of the first table.
OF_ANY_LENGTH = tuple(
    f"{name}{norms}"
    for name in ("DRQ", f"DRQ, {OWN_LEVELS} own levels", "OPQ", "PQ", "PQ fast-scan", "RQ", "PRQ", "LSQ")
    for norms in ("", NORMS)
)
NOT_RUN = ""


def main() -> None:
    for path in (LAB, HOW_TO):
        path.write_text(renewed(path.read_text()))


def renewed(page: str) -> str:
    """Return a page with new tables between its marks, such as <!-- minilm --> and <!-- end minilm -->."""
    results = {name: _rows(RESULTS / f"{name}.json") for name in SETS if (RESULTS / f"{name}.json").exists()}
    for name, rows in results.items():
        page = _between(page, name, "\n\n".join([lengths(rows), own_lengths(rows), refined(rows)]))
    return _between(page, "expected", expected(results))


def _rows(path: Path) -> list[Row]:
    return list(report.rows_of(json.loads(path.read_text())).values())


def _between(page: str, name: str, content: str) -> str:
    begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    return re.sub(
        re.escape(begin) + ".*?" + re.escape(end),
        lambda _: f"{begin}\n{content}\n\n{end}",
        page,
        flags=re.DOTALL,
    )


def expected(results: dict[str, list[Row]]) -> str:
    """Lay out 10@10 of DRQ: a line for each set."""
    found = {
        (name, norms): {
            row.code_bytes: row.found["10@10"]
            for row in rows
            if row.method == "DRQ" and not row.oversampled and row.norms == norms
        }
        for name, rows in results.items()
        for norms in (False, True)
    }
    columns = sorted({m for lengths in found.values() for m in lengths})
    lines = [
        [SETS[name].title + NORMS * norms, *(share(lengths[m]) if m in lengths else NOT_RUN for m in columns)]
        for (name, norms), lengths in found.items()
        if lengths
    ]
    return table(["embeddings", *map(str, columns)], lines)


def lengths(rows: list[Row]) -> str:
    """Lay out 10@10 of codes of any length: a line for each code, the best of every length in bold."""
    found = {(row.name, row.code_bytes): row.found["10@10"] for row in rows if not row.oversampled}
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
        if row.name in OF_ANY_LENGTH or row.oversampled:
            continue
        fitting = [
            r for r in rows if r.method == "DRQ" and not r.oversampled and r.taken_bytes <= row.held_bytes
        ]
        drq = max(fitting, key=lambda r: r.found["10@10"], default=None)
        lines.append(
            [
                row.method,
                str(row.held_bytes),
                share(row.found["10@10"]),
                _us(row),
                *(
                    ["", "", ""]
                    if drq is None
                    else [str(drq.taken_bytes), share(drq.found["10@10"]), _us(drq)]
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
