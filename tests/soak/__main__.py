"""Works on indexes of all kinds from many threads and compares every result with NumPy.

usage: python -m tests.soak MINUTES [SEED]

Exit status 1: a result was wrong, a thread hung, or memory or threads grew.
"""

import os
import sys
import tempfile
from pathlib import Path

from tests.soak.watch import Soak, report


def main(minutes: float, seed: int = 0) -> int:
    with tempfile.TemporaryDirectory(prefix="drqfaiss-soak-") as folder:
        soak = Soak(Path(folder), seed)
        wrong = soak.run(60 * minutes)
        print(report(soak, wrong, 60 * minutes), flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    status = main(float(sys.argv[1]), *map(int, sys.argv[2:3]))
    sys.stdout.flush()
    os._exit(status)  # a thread that hangs does not keep the process
