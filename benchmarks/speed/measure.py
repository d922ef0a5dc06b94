"""Measures how fast drqfaiss searches, encodes and trains, as ratios to FAISS in the same run.

Every case is one operation of ours and what it is compared with, timed in turns. Without ``--data`` it uses
the descriptors of ``benchmarks.common.photographs``. Progress goes to stderr, the table to stdout; the table,
all figures as JSON and a plot are saved in the output folder, named after our SIMD level. What is there of
other groups of cases stays there, unless it was measured in another way.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# Spinning OpenMP threads distort every figure on a shared machine; libgomp reads this once, on loading.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tqdm import tqdm

import drqfaiss
from benchmarks.common import vectors
from benchmarks.speed import report as speed_report
from benchmarks.speed.case import Case, Setting, levels
from benchmarks.speed.cases import GROUPS
from benchmarks.speed.filled import Filler
from benchmarks.speed.report import Line
from drqfaiss._core import plugin
from drqfaiss._plugin.layout import address
from drqfaiss.cli.timing import best_times


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data = vectors.load(options)
    setting = Setting(Filler(data, options.seed), options.n, options.large)
    about = speed_report.header(data, vars(options))
    kept = [] if options.fresh else keep(about, options)
    about["Memory"] = memory(setting)
    lines = [
        line
        for group in tqdm(options.cases, desc="cases", unit="group")
        for case in GROUPS[group](setting)
        for line in measure(case, group, options)
    ]
    print(speed_report.save(Path(options.out), about, in_order(lines + kept)))


def keep(about: dict[str, str], options: argparse.Namespace) -> list[Line]:
    """Return the last results of groups that are not measured now; leave the program if they do not fit."""
    try:
        return speed_report.others(Path(options.out), about, set(options.cases))
    except ValueError as error:
        sys.exit(f"{error}; expected the same, another --out, or --fresh, which drops them")


def memory(setting: Setting) -> str:
    """Count what an index of 8 levels keeps, in bytes per vector."""
    index = setting.fill.drq(setting.n, 8)
    for used in (8, 4):
        index.search(setting.queries[:1], 10, **levels(used))
    norms = plugin.cached_norms(address(index))
    kept = {
        "codes": index.codes.size(),
        **{f"norms of {used} levels": held for used, (_, held) in norms.items()},
        "pack()": index.pack(),
    }
    sizes = ", ".join(f"{name} {size / setting.n:.2f}" for name, size in kept.items())
    return f"bytes per vector, M = 8, N = {setting.n:,}, L2, after searches with 4 and 8 levels: {sizes}"


def in_order(lines: list[Line]) -> list[Line]:
    known = list(GROUPS)
    return sorted(lines, key=lambda line: known.index(line.group) if line.group in known else len(known))


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
        "--fresh", action="store_true", help="drop the last results of the other groups of cases"
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
