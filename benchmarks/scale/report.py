"""Lays out what `measure` and `cost` have found as the tables of benchmarks/results/scale."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.common import report

RESULTS = Path(__file__).parents[1] / "results" / "scale"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=RESULTS, help="of the JSON files")
    folder = parser.parse_args(arguments).folder
    (folder / "cluster.md").write_text(cluster_page(json.loads((folder / "cluster.json").read_text())))
    costs = [json.loads(path.read_text()) for path in sorted(folder.glob("cost-*.json"))]
    (folder / "cost.md").write_text(cost_page(costs))


def cluster_page(result: dict[str, Any]) -> str:
    """Return the tables of one run of `measure`."""
    about = result["about"] | {"Load": f"{result['load']} when it began, on a machine shared with others"}
    rows = [
        [
            *(str(row[name]) for name in ("shards", "per shard", "queries")),
            *(
                f"{row[side]['p50']:.2f} / {row[side]['p99']:.2f}"
                for side in ("in process, ms", "in actors, ms")
            ),
            f"{row['ratio of the fastest']:.2f}",
            f"{row['CPU in process, ms']:.2f}",
            f"{row['CPU of actors, ms']:.2f} + {row['CPU of caller, ms']:.2f}",
        ]
        for row in result["overhead"]
    ]
    table = report.page(about, COLUMNS, rows, "")
    parts = [f"## {title}\n\n{values(result[name])}" for name, title in TITLES.items() if name in result]
    return "\n".join([table, *parts])


SIDES = ("in process, ms", "in actors, ms")
COLUMNS = [
    *("shards", "vectors each", "queries", "in process, ms: p50 / p99", "in actors, ms: p50 / p99"),
    *("ratio of the fastest", "CPU ms in process", "CPU ms of actors + caller"),
]
TITLES = {"build": "Build and merge", "kills": "Losses", "http": "HTTP"}


def values(found: Any) -> str:
    """Return names and values as lists, one for each row."""
    rows = found if isinstance(found, list) else [found]
    return "\n".join("\n".join(f"- {name}: {value}" for name, value in row.items()) + "\n" for row in rows)


def cost_page(results: list[dict[str, Any]]) -> str:
    """Return one table of what n vectors need, for all data sets."""
    rows = [row for result in results for row in result["rows"]]
    machine, peer = results[0]["machine"], results[0]["autofaiss"]
    about = {f"Data {i + 1}": result["about"]["Data"] for i, result in enumerate(results)}
    about |= {name: results[0]["about"][name] for name in ("Machine", "Versions", "SIMD")}
    about["Rented"] = (
        f"{machine['cores']} cores and {machine['memory'] / 1e9:.0f} GB each, {machine['usable']:.0%} "
        f"of it for codes; ${machine['core_hour']} a core-hour, ${machine['disk_month']} a GB-month: options"
    )
    lines = [[str(value) for value in row.values()] for row in rows]
    notes = (
        f"For comparison, autofaiss's index of LAION-5B: {peer['vectors']:.3g} vectors of {peer['d']} "
        f"dimensions, {peer['core hours']} core-hours, {peer['CPU us to encode one']:.0f} µs each."
    )
    return report.page(about, [*rows[0]], lines, notes) + "\n"


if __name__ == "__main__":
    main()
