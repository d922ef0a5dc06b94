"""What a comparison on embeddings leaves behind: figures as JSON, and tables of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.common import report
from benchmarks.common.methods import FLOAT_NORM_BYTES
from drqfaiss.datasets import Dataset

NOTES = """
- DRQ is ONE index, trained once and filled once, whose first bytes are compared; all others are trained and
  filled for each length. Bytes held: what a vector takes in memory, with factors and norms, without its id.
  DRQ holds its whole code; an index of shorter codes is made of the same training by `from_codebooks`.
- 10@10: share of the 10 nearest neighbours among the first 10 found; 10@100: among the first 100 found;
  1@10: share of queries whose nearest neighbour is among the first 10 found.
- "4k by int8": 4 k candidates are ranked again with 8-bit copies of the vectors, which are held, too. "10k by
  all levels": 10 k candidates are ranked again by the whole of their own code.
- Training and adding: CPU time of all threads; training also by the clock. Searches for 10 results: CPU time
  of one thread, medians of several runs of all methods in turns, one query a call or 512; FAISS's at the SIMD
  level that is fastest for it.
- Vectors of length 1 have the same neighbours by inner product and by L2. PQ and OPQ rank by L2
  then, of vectors that are stored divided by 1.25, the better for them; PCA methods rank by L2. Sums of
  codewords (DRQ, RQ, PRQ, LSQ) rank by inner product or, "with norms" of 4 bytes, by L2 of vectors that are
  stored divided by 1.75. OPQ reduces 1,024 dimensions and more to 640.
""".strip()
INT8, ALL_LEVELS = "int8", "all levels"  # what ranks candidates again
NORMS = " with norms"
COLUMNS = ("10@10", "10@100", "1@10")


Key = tuple[str, int, int, str, bool]  # an index, and which search of it


class Costs(NamedTuple):
    """Of training and adding: seconds of all threads' CPU time and of the clock, µs of CPU time a vector."""

    train_s: float
    train_clock_s: float
    add_us: float


@dataclass
class Row:
    """One search of one index; times are filled in after all indexes are built.

    Attributes:
        method: its name.
        label: of the index.
        code_bytes: of a vector that are compared.
        oversampled: times k candidates that are ranked again; 0: none.
        ranked_by: what ranks them.
        held_bytes: of a vector in memory.
        costs: of training and adding.
        found: shares of neighbours by their names.
        ours: the index is DRQ's.
        norms: sums of codewords are ranked by distances, with their norms.
    """

    method: str
    label: str
    code_bytes: int
    oversampled: int
    held_bytes: int
    costs: Costs
    found: dict[str, float]
    ours: bool
    single_us: float | None = None
    batch_us: float | None = None
    ranked_by: str = ""
    norms: bool = False

    @property
    def times_itself(self) -> bool:
        """FAISS's SIMD level has no part in a search."""
        return (self.ours and self.ranked_by != INT8) or "usearch" in self.method

    @property
    def title(self) -> str:
        """What the table calls it."""
        return f"{self.name}, {self.oversampled}k by {self.ranked_by}" if self.oversampled else self.name

    @property
    def taken_bytes(self) -> int:
        """What a vector takes in memory in an index of just the bytes that are compared."""
        return self.code_bytes + FLOAT_NORM_BYTES * self.norms

    @property
    def name(self) -> str:
        """The method, and whether norms are part of it."""
        return self.method + NORMS * self.norms


def header(data: Dataset, seed: int, runs: int) -> dict[str, str]:
    """Collect what a reader needs to judge the figures."""
    return {
        **report.machine(data, seed, "1 to search, all to train and add"),
        "Timing": f"k = 10, median of {runs} runs, CPU time",
    }


def read(path: Path) -> dict[Key, Row]:
    """Return the rows of a file; none without one."""
    return rows_of(json.loads(path.read_text())) if path.exists() else {}


def rows_of(figures: dict[str, Any]) -> dict[Key, Row]:
    """Return the rows in the figures of a comparison."""
    rows = [Row(**{**row, "costs": Costs(**row["costs"])}) for row in figures["codes"]]
    return {(row.label, row.code_bytes, row.oversampled, row.ranked_by, row.norms): row for row in rows}


def write(path: Path, about: dict[str, str], rows: dict[Key, Row]) -> None:
    """Write all figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codes = [{**asdict(row), "costs": row.costs._asdict()} for row in rows.values()]
    figures = {"about": about, "codes": codes}
    path.write_text(json.dumps(figures, indent=1) + "\n")


def markdown(about: dict[str, str], rows: dict[Key, Row]) -> str:
    """Lay out all rows."""
    columns = ["code", "bytes compared", "bytes held", "training, CPU s", "clock s", "adding µs", *COLUMNS]
    return report.page(
        about, [*columns, "one query, µs", "batch, µs"], [_line(row) for row in rows.values()], NOTES
    )


def _line(row: Row) -> list[str]:
    return [
        row.title,
        str(row.code_bytes),
        str(row.held_bytes),
        f"{row.costs.train_s:,.1f}",
        f"{row.costs.train_clock_s:,.1f}",
        f"{row.costs.add_us:,.0f}",
        *(share(row.found[name]) for name in COLUMNS),
        *("" if us is None else report.timed(us, None) for us in (row.single_us, row.batch_us)),
    ]


def share(value: float) -> str:
    """Write a share without the zero before the point."""
    return f"{value:.3f}".removeprefix("0")
