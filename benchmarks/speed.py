"""Measures how fast drqfaiss searches, encodes and trains, as ratios to FAISS in the same run.

Every case is one operation of ours and what it is compared with, timed in turns. Without ``--data`` it uses
the descriptors of ``photographs.py``. Progress goes to stderr, the table to stdout; the table, all figures as
JSON and a plot are saved in the output folder, named after our SIMD level.
"""

from __future__ import annotations

import argparse
import ctypes
import os
from itertools import pairwise
from pathlib import Path

# Spinning OpenMP threads distort every figure on a shared machine; libgomp reads this once, on loading.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import speed_report
import vectors
from filled import Filler
from speed_cases import GROUPS, Case, Setting, levels
from speed_report import Line
from tqdm import tqdm

import drqfaiss
from drqfaiss.timing import best_times

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data = vectors.load(options)
    setting = Setting(Filler(data, options.seed), options.n, options.large)
    about = speed_report.header(data, vars(options)) | {"Memory": memory(setting)}
    lines = [
        line
        for group in tqdm(options.cases, desc="cases", unit="group")
        for case in GROUPS[group](setting)
        for line in measure(case, group, options)
    ]
    if options.keep:
        lines = in_order(lines + speed_report.saved(Path(options.out), set(options.cases)))
    print(speed_report.save(Path(options.out), about, lines))


def memory(setting: Setting) -> str:
    """Measure what an index takes, in bytes per vector of 8 levels, by the growth of the process."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    codes = setting.fill.tiled(setting.n, "level", 8, 8)
    index = setting.fill.drq(0, 8)
    steps = {
        "codes": lambda: index.add_sa_codes(codes),
        "searching 8 levels (L2)": lambda: index.search(setting.queries[:1], 10, **levels(8)),
        "searching 4 levels, too": lambda: index.search(setting.queries[:1], 10, **levels(4)),
        "pack()": index.pack,
    }
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, 1 << 16)  # large blocks are new memory, not what has been freed before
    sizes = [resident()]
    for step in steps.values():
        step()
        sizes.append(resident())
    mallopt(M_MMAP_THRESHOLD, 1 << 25)
    grown = [
        f"{name} {(after - before) / setting.n:+.1f}"
        for name, (before, after) in zip(steps, pairwise(sizes), strict=True)
    ]
    return f"bytes per vector, M = 8, N = {setting.n:,}: {', '.join(grown)}"


def in_order(lines: list[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: list(GROUPS).index(line.group))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    vectors.add_options(parser)
    vectors.add_timing_options(parser)
    parser.add_argument("--cases", type=_groups, default=",".join(GROUPS), help="groups of cases to run")
    parser.add_argument("--n", type=int, default=1_000_000, help="size of the largest index")
    parser.add_argument("--large", action="store_true", help="also an index ten times as large")
    parser.add_argument(
        "--keep", action="store_true", help="keep the last results of the other groups of cases"
    )
    parser.add_argument("--out", default="benchmarks/results", help="output folder")
    return parser.parse_args(arguments)


def _groups(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown}; expected some of {list(GROUPS)}")
    return names


def measure(case: Case, group: str, options: argparse.Namespace) -> list[Line]:
    """Time a case at its SIMD level; one line for each thing it is compared with."""
    best = drqfaiss.simd_level()
    level = case.simd or best
    drqfaiss.set_simd_level(level)
    try:
        seconds = None if case.all_rows else options.seconds
        tasks = {"": case.own, **case.peers}
        at_most = case.simd and case.simd.upper()
        runs = case.runs or options.runs
        timings = best_times(tasks, case.rows, runs, seconds, case.title, at_most)
        errors = case.errors()
    finally:
        drqfaiss.set_simd_level(best)
    return [
        Line(
            group=group,
            case=case.title,
            simd=level,
            us=timings[""].us,
            peer=peer,
            peer_us=timings[peer].us,
            peer_simd=timings[peer].simd,
            target=case.targets.get(peer),
            error=errors.get(peer),
        )
        for peer in case.peers
    ]


if __name__ == "__main__":
    main()
