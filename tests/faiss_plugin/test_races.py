"""Searching while an index changes is undefined in FAISS; once it is quiet, our caches must be right."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # a process for every race

RACE = """
import os, sys, threading, time
import numpy as np, faiss, drqfaiss
kind, packed = sys.argv[1], sys.argv[2] == "packed"
rng = np.random.default_rng(0)
codebooks = np.array([0.8**m * rng.normal(size=(256, 16)) for m in range(6)])
if kind == "flat":
    index = drqfaiss.IndexDRQ.from_codebooks(codebooks)
else:
    coarse = faiss.IndexFlatL2(16)
    coarse.add(rng.normal(size=(8, 16)).astype("f4"))
    index = drqfaiss.IndexIVFDRQ.from_codebooks(coarse, codebooks)
    index.nprobe = 8
width = index.sa_code_size()
def codes(n):
    made = rng.integers(0, 256, (n, width)).astype("u1")
    if kind == "ivf":
        made[:, 0] %= 8
    return made
index.add_sa_codes(codes(20_000))
if packed:
    index.pack()
x = rng.normal(size=(8, 16)).astype("f4")
index.search(x, 3)
end = time.monotonic() + 1
def search():
    while time.monotonic() < end:
        index.search(x, 7)
def change():
    while time.monotonic() < end:
        index.remove_ids(rng.choice(20_000, 500, replace=False))
        index.add_sa_codes(codes(500))
threads = [threading.Thread(target=work) for work in (search, search, change)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
fresh = drqfaiss.adopt(faiss.deserialize_index(faiss.serialize_index(index)))
if kind == "ivf":
    fresh.nprobe = 8
same = all(map(np.array_equal, index.search(x, 50), fresh.search(x, 50)))
print(index.ntotal, flush=True)
os._exit(0 if same else 9)
"""


@pytest.mark.parametrize(("kind", "packed"), [("flat", "rows"), ("flat", "packed"), ("ivf", "rows")])
def test_an_index_is_right_once_it_is_quiet(kind, packed):
    done = subprocess.run([sys.executable, "-c", RACE, kind, packed], capture_output=True, timeout=120)
    # A crash in the race itself, which ends the process by a signal, is FAISS's own affair.
    assert done.returncode <= 0, done.stderr
