"""Prints how many bytes this process grows by when it reads an index of a folder and searches it."""

import ctypes
import gc
import resource
import sys
from pathlib import Path

import numpy as np

import drqfaiss

K = 10


def resident() -> int:
    """Return bytes in memory, with what was freed given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def use_everything_once(queries: np.ndarray) -> None:
    """Load code, and start threads, that any index would need."""
    small = drqfaiss.IndexDRQ.from_codebooks(np.zeros((2, 256, queries.shape[1]), np.float32))
    small.add(queries[:10])
    small.search(queries, 1)


def main(folder: str) -> None:
    queries = np.load(f"{folder}/queries.npy")
    use_everything_once(queries)
    before = resident()
    index = drqfaiss.read_index(f"{folder}/index.faiss")
    index.search(queries, K)
    print(resident() - before)


if __name__ == "__main__":
    main(sys.argv[1])
