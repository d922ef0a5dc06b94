"""Works on indexes of all kinds from many threads and compares every result with NumPy.

Exit status 1: a result was wrong, a thread hung, or memory or threads grew.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.soak.operations import READERS, fork
from tests.soak.watch import Soak, report


def main(minutes: float, seed: int, forks: bool) -> int:
    if not forks:
        del READERS[fork]
    with tempfile.TemporaryDirectory(prefix="drqfaiss-soak-") as folder:
        soak = Soak(Path(folder), seed)
        wrong = soak.run(60 * minutes)
        print(report(soak, wrong, 60 * minutes), flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-forks", dest="forks", action="store_false", help="for sanitizers of threads")
    status = main(**vars(parser.parse_args()))
    sys.stdout.flush()
    os._exit(status)  # a thread that hangs does not keep the process
