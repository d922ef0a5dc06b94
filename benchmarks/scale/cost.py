"""Works out what a billion vectors need, from what one costs here: core-hours, machines, memory, disk, money.

Measured, on one thread and in CPU time: finding a vector's list among 65,536 by comparing it with all
centroids, encoding it, and scanning codes. Given: machines and prices, as options.
Everything else is multiplication, which the table shows with its factors.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy as np

import drqfaiss
from benchmarks.common import report, vectors
from benchmarks.common.arguments import names
from benchmarks.scale.shards import TRAINING, fill
from drqfaiss._least_squares.options import QUALITIES
from drqfaiss.datasets import Dataset

NORM, ID = 4, 8  # Bytes that L2 searches keep of a vector besides its code; of an id in a list.
GB, HOUR = 1e9, 3600.0
HOURS_A_MONTH = 730
LISTS, ASSIGNED = 65_536, 1_000
CODES = ("8", "16", "16+80")
# https://rom1504.medium.com/semantic-search-at-billions-scale-95f21695689a has the story.
AUTOFAISS = {"vectors": 5.55e9, "d": 768, "core hours": 960, "CPU us to encode one": 622.7}


@dataclass(frozen=True)
class Unit:
    """What one vector costs.

    Attributes:
        d: dimensions.
        hot: levels of one byte that searches keep in memory.
        tail: levels on disk.
        norm: bytes of a norm, which L2 searches keep.
        assign_us: CPU time to find its list.
        encode_us: CPU time to encode it.
        scan_ns: CPU time of a query to compare it by the hot levels.
    """

    d: int
    hot: int
    tail: int
    norm: int
    assign_us: float
    encode_us: float
    scan_ns: float


@dataclass(frozen=True)
class Machine:
    """A machine to rent, and what it costs.

    Attributes:
        cores: cores.
        memory: bytes, of which `usable` may be codes.
        usable: share.
        core_hour: price of a core for an hour, its memory included.
        disk_month: price of a GB on disk for a month.
    """

    cores: int = 16
    memory: float = 64 * GB
    usable: float = 0.8
    core_hour: float = 0.04
    disk_month: float = 0.1


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data = vectors.load(options, vectors.METRICS.get(options.metric))
    units = [measure(data, code, options) for code in options.codes]
    prices = {"core_hour": options.core_hour, "disk_month": options.disk_month}
    machine = Machine(options.cores, options.memory * GB, **prices)
    rows = [needs(unit, options.n, options.probed, machine) for unit in units]
    result = {
        "about": report.machine(data, options.seed, "1"),
        "load": [round(load, 1) for load in os.getloadavg()],
        "machine": asdict(machine),
        "units": [asdict(unit) for unit in units],
        "rows": rows,
        "autofaiss": AUTOFAISS,
    }
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    vectors.add_options(parser)
    parser.add_argument("--metric", choices=[*vectors.METRICS], help="default: what the file says, else l2")
    parser.add_argument("--codes", type=names, default=[*CODES], help="bytes in memory, + bytes on disk")
    parser.add_argument("--n", type=float, default=1e9, help="vectors")
    parser.add_argument(
        "--probed", type=float, default=0.01, help="share of the vectors that a query looks at"
    )
    parser.add_argument("--encoded", type=int, default=5_000, help="vectors to measure encoding on")
    parser.add_argument("--scanned", type=int, default=500_000, help="vectors to measure scanning on")
    parser.add_argument("--cores", type=int, default=Machine.cores)
    parser.add_argument("--memory", type=float, default=Machine.memory / GB, help="GB of a machine")
    parser.add_argument("--core-hour", type=float, default=Machine.core_hour, help="$")
    parser.add_argument("--disk-month", type=float, default=Machine.disk_month, help="$ of a GB")
    parser.add_argument("--out", type=Path, help="file of results, JSON")
    return parser.parse_args(arguments)


def measure(data: Dataset, code: str, options: argparse.Namespace) -> Unit:
    """Return what a vector costs with codes like 16+80."""
    hot, tail = (int(part) for part in f"{code}+0".split("+")[:2])
    faiss.omp_set_num_threads(1)
    index = drqfaiss.IndexDRQ(data.d, hot + tail, 8, data.metric, seed=options.seed, **TRAINING)
    index.train(data.learn)
    x = np.resize(data.base, (options.encoded, data.d))
    index.rq.max_beam_size = QUALITIES["default"].encoding_beam
    began = time.thread_time()
    index.sa_encode(x)
    encode = time.thread_time() - began
    with tempfile.TemporaryDirectory() as folder:
        path = fill(index, data, Path(folder) / "s", 1, options.scanned) / "shard-00000.faiss"
        if tail:  # What searches look at is a file of its own.
            drqfaiss.split_tail(drqfaiss.read_index(path), hot, path)
        filled = drqfaiss.read_index(path, tail=False if tail else None)
    queries = np.resize(data.query, (256, data.d)).astype(np.float32)
    filled.search(queries[:2], 10)  # Computes norms.
    began = time.thread_time()
    filled.search(queries, 10)
    scan = time.thread_time() - began
    norm = NORM if data.metric == faiss.METRIC_L2 else 0
    return Unit(
        data.d,
        hot,
        tail,
        norm,
        assign_us=1e6 * assigning(data, x[:ASSIGNED]) / min(ASSIGNED, len(x)),
        encode_us=1e6 * encode / options.encoded,
        scan_ns=1e9 * scan / (len(queries) * options.scanned),
    )


def assigning(data: Dataset, x: np.ndarray) -> float:
    """Return the CPU seconds of finding the nearest of all centroids for each vector."""
    noise = np.random.default_rng(0).standard_normal((LISTS, data.d)).astype(np.float32)
    coarse = faiss.IndexFlat(data.d, data.metric)
    coarse.add(np.resize(data.base, (LISTS, data.d)) + 0.01 * noise)
    began = time.process_time()
    coarse.assign(x, 1)
    return time.process_time() - began


def needs(unit: Unit, n: float, probed: float, machine: Machine) -> dict[str, Any]:
    """Return what n vectors need, and how."""
    in_memory = unit.hot + unit.norm + ID
    memory, disk = n * in_memory, n * (unit.hot + unit.tail + ID)
    machines = math.ceil(memory / (machine.memory * machine.usable))
    core_hours = n * (unit.assign_us + unit.encode_us) / 1e6 / HOUR
    core_seconds = n * probed * unit.scan_ns / 1e9
    months = machines * machine.cores * machine.core_hour * HOURS_A_MONTH + disk / GB * machine.disk_month
    return {
        "d": unit.d,
        "bytes": f"{unit.hot}+{unit.tail}" if unit.tail else str(unit.hot),
        "GB to read": round(4 * unit.d * n / GB),
        "CPU us to assign, encode": f"{unit.assign_us:.0f} + {unit.encode_us:.0f}",
        "core-hours": round(core_hours),
        "$": round(core_hours * machine.core_hour, 2),
        "bytes in memory of one": in_memory,
        "GB in memory": round(memory / GB, 1),
        "machines": machines,
        "GB on disk": round(disk / GB, 1),
        "scan, ns a vector": round(unit.scan_ns, 3),
        "core ms a query": round(1e3 * core_seconds, 2),
        "queries per second of all": round(machines * machine.cores / core_seconds),
        "$ a month": round(months),
    }


if __name__ == "__main__":
    main()
