"""Runs targets in processes of their own, which damaged input may end."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.fuzz.arguments import Arrays, CommandLines, Fields
from tests.fuzz.files import Files, HDF5Files, IndexFiles, SplitFiles

TARGETS: dict[str, Callable[[Path], Any]] = {
    "models": partial(Files, format_="npz"),
    "models with blocks": partial(Files, format_="blocks.npz"),
    "npy": partial(Files, format_="npy"),
    "fvecs": partial(Files, format_="fvecs"),
    "ivecs": partial(Files, format_="ivecs"),
    "hdf5": HDF5Files,
    "claims of builds": partial(Files, format_="json"),
    "index files": IndexFiles,
    "split index files": SplitFiles,
    "command lines": CommandLines,
    "arrays": Arrays,
    "fields": Fields,
}
MOST_FINDINGS = 5  # of a target, then it has had its turn


@dataclass
class Result:
    """What became of a target's inputs."""

    target: str
    executions: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def line(self) -> str:
        outcomes = ", ".join(f"{count} {name}" for name, count in self.outcomes.most_common())
        return (
            f"{self.target}: {self.executions} inputs in {self.seconds:.0f} s: {outcomes}; "
            f"{len(self.findings)} findings"
        )


def look(target: str, seconds: float = math.inf, inputs: int = sys.maxsize) -> Result:
    """Run a target on one input after the other, for so long or so many; print what is found."""
    result, start = Result(target), time.monotonic()
    while (left := seconds - (time.monotonic() - start)) > 0 and result.executions < inputs:
        if len(result.findings) >= MOST_FINDINGS:
            break
        seed = result.executions
        report, error = child(target, seed, left, inputs - seed)
        result.executions = seed = report["next"]
        result.outcomes += Counter(report["outcomes"])
        for finding in report["findings"]:
            result.findings.append(f"{target} {finding['seed']}:\n{finding['error']}")
        if report["ended"]:
            continue
        # The process ended in the middle of an input: FAISS's doing if plain FAISS ends there as well.
        stock, _ = child(target, seed, inputs=1, stock=True)
        if stock["ended"]:
            result.findings.append(f"{target} {seed}: the process ended\n{error}")
        else:
            result.outcomes["ended plain FAISS, too"] += 1
        result.executions += 1
    for finding in result.findings:
        print(f"FINDING {finding}", file=sys.stderr, flush=True)
    result.seconds = time.monotonic() - start
    return result


def child(
    target: str, seed: int, seconds: float = math.inf, inputs: int = 1, stock: bool = False
) -> tuple[dict[str, Any], str]:
    """Run inputs from a seed on, for so long or so many; return how far it got, and stderr."""
    with tempfile.TemporaryDirectory(prefix="drqfaiss-fuzz-") as folder:
        report = Path(folder, "report.json")
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.child",
            target,
            seed,
            seconds,
            inputs,
            int(stock),
            folder,
        ]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, env={**os.environ})
        empty = {"next": seed, "outcomes": {}, "findings": [], "ended": False}
        state = json.loads(report.read_text()) if report.exists() else empty
        state["ended"] = state["ended"] and done.returncode == 0
        return state, f"exit status {done.returncode}\n{done.stderr[-4000:]}"


def again(target: str, seed: int) -> int:
    """Run one input; return 1 if it is a finding."""
    report, error = child(target, seed)
    if report["ended"] and not report["findings"]:
        print(report["outcomes"])
        return 0
    print(report["findings"][0]["error"] if report["findings"] else error)
    return 1
