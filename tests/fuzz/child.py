"""The process that runs a target: python -m tests.fuzz.child TARGET SEED SECONDS INPUTS STOCK FOLDER."""

import faulthandler
import json
import resource
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

from tests.fuzz.run import MOST_FINDINGS, TARGETS

SECONDS_TO_HANG = 60
ROOM = 2 << 30  # bytes that inputs may take


def main(name: str, seed: int, seconds: float, inputs: int, stock: bool, folder: Path) -> None:
    work = folder / "work"
    work.mkdir()
    target = TARGETS[name](work)
    limit_memory()
    outcomes: Counter[str] = Counter()
    findings = []
    progress = (folder / "report.json").open("w")

    def save(ended: bool) -> None:
        progress.seek(0)
        progress.write(json.dumps({"next": seed, "outcomes": outcomes, "findings": findings, "ended": ended}))
        progress.truncate()
        progress.flush()

    end, last = time.monotonic() + seconds, seed + inputs
    while seed < last and time.monotonic() < end and len(findings) < MOST_FINDINGS:
        save(ended=False)
        faulthandler.dump_traceback_later(SECONDS_TO_HANG, exit=True)
        try:
            outcomes[target.run(np.random.default_rng(seed), stock)] += 1
        except Exception:
            outcomes["finding"] += 1
            findings.append({"seed": seed, "error": traceback.format_exc()})
        faulthandler.cancel_dump_traceback_later()
        seed += 1
    save(ended=True)


def limit_memory() -> None:
    """Let arrays of absurd sizes fail instead of taking all memory."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))


if __name__ == "__main__":
    faulthandler.enable()
    name, seed, seconds, inputs, stock, folder = sys.argv[1:]
    main(name, int(seed), float(seconds), int(inputs), stock == "1", Path(folder))
