"""Measures shards in Ray's actors on a cluster of several raylets on this machine, and the HTTP service.

    overhead   searches in actors against the same shards in one process, in turns; ratios of the medians and
               of the fastest
    build      vectors per second of `build_shards`, one task and two, and what merging costs
    kills      an actor of four, then one of two machines, killed during 1,000 queries
    http       10,000 requests of 16 clients, good and bad, and the memory of the service

Times are by the clock: they hold on a machine that does nothing else, which ``load`` in the result tells.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmarks.common import report, vectors
from benchmarks.common.arguments import names, numbers
from benchmarks.scale import parts, service
from benchmarks.scale.shards import fill, train

PARTS = ("overhead", "build", "kills", "http")


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data = vectors.load(options)
    result: dict[str, Any] = {
        "about": report.machine(data, options.seed, "1 for each actor"),
        "load": [round(load, 1) for load in os.getloadavg()],
    }
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        trained = train(data, options.levels, options.seed)
        for part in options.parts:
            shards = max(options.shards) if part == "overhead" else 4
            place = fill(trained, data, folder / part, shards, options.per_shard)
            result[part] = RUN[part](place, trained, data, options)
            print(json.dumps({part: result[part]}, indent=1), flush=True)
    if options.out:
        before = json.loads(options.out.read_text()) if options.out.exists() else {}
        options.out.write_text(json.dumps(before | result, indent=1) + "\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    vectors.add_options(parser)
    parser.add_argument("--parts", type=names, default=[*PARTS], help=f"any of {','.join(PARTS)}")
    parser.add_argument("--levels", type=int, default=8, help="of 8 bits")
    parser.add_argument("--per-shard", type=int, default=1_000_000, help="vectors of a shard")
    parser.add_argument("--shards", type=numbers, default=[1, 2], metavar="N,…", help="to search at a time")
    parser.add_argument("--batch", type=int, default=1_000, help="queries of a batch")
    parser.add_argument("--runs", type=int, default=15, help="batches on each side")
    parser.add_argument("--single", type=int, default=200, help="single queries on each side")
    parser.add_argument("--encoded", type=int, default=100_000, help="vectors of the build")
    parser.add_argument("--requests", type=int, default=10_000, help="of all clients together")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--folder", help="where shards are written for a while")
    parser.add_argument("--out", type=Path, help="file of results, JSON; parts in it are replaced")
    options = parser.parse_args(arguments)
    if unknown := {*options.parts} - {*PARTS}:
        parser.error(f"--parts: got {', '.join(unknown)}, expected any of {', '.join(PARTS)}")
    return options


RUN = {"overhead": parts.overhead, "build": parts.build, "kills": parts.kills, "http": service.requests}

if __name__ == "__main__":
    main()
