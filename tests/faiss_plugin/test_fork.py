"""Forked children answer, whatever threads of the parent were doing."""

import subprocess
import sys
from pathlib import Path

import pytest

FORKS = Path(__file__).with_name("forks.py")


def fork_under_load(forks, seconds):
    done = subprocess.run(
        [sys.executable, str(FORKS), str(forks), str(seconds)], capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[0])


@pytest.mark.slow
def test_children_forked_under_load_answer():
    assert fork_under_load(60, 10) > 0


@pytest.mark.slow
def test_a_thousand_children_forked_under_load_answer():
    assert fork_under_load(1000, 1500) == 1000


def run(code):
    done = subprocess.run([sys.executable, "-c", SETUP + code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


SETUP = """
import os, signal, sys, threading
import numpy as np, faiss, drqfaiss
faiss.omp_set_num_threads(3)
rng = np.random.default_rng(0)
x = rng.normal(size=(30_000, 16)).astype("f4")

def child(work):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        print(work(), flush=True)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        print("hangs")
"""


def test_a_child_has_teams_of_its_own():
    code = """
coarse = faiss.IndexFlatL2(16)
coarse.add(x[:64])
coarse.search(x, 1)  # this thread has a team
def work():
    coarse.search(x, 1)
    index = drqfaiss.index_factory(16, "IVF16,DRQ2x4", progress=False)
    index.train(x)
    index.add(x)
    index.search(x[:200], 5)
    return faiss.omp_get_max_threads()
child(work)
child(lambda: (child(work), "")[1])  # and so have its own children
print(work())
"""
    assert run(code) == ["3", "3", "3"]


def test_options_survive_in_a_child_that_loses_the_caches():
    """A thread computes norms, with the index's lock held, at the moment of the fork."""
    code = """
index = drqfaiss.IndexDRQ.from_codebooks(rng.normal(size=(4, 256, 16)), beam=3)
index.add_sa_codes(rng.integers(0, 256, (2_000_000, 4)).astype("u1"))
index.levels = 3
index.pack()
training = lambda: drqfaiss._core.plugin.training(drqfaiss._plugin.layout.address(index))
options = training()
faiss.omp_set_num_threads(1)
found = index.search(x[:3], 5)[1]
drqfaiss.adopt(index)
searching = threading.Thread(target=lambda: index.search(x[:1], 5))
searching.start()
def work():
    same = np.array_equal(index.search(x[:3], 5)[1], found)
    return same, index.levels, index.packed, training() == options
child(work)
searching.join()
"""
    assert run(code) == ["(True,", "3,", "True,", "True)"]


def test_a_child_forked_while_the_first_index_is_made():
    """FAISS is looked at then, which takes some milliseconds, and modules are imported."""
    code = """
import time
for delay in (0, 0.002, 0.005, 0.01, 0.02, 0.04):
    pid = os.fork()  # a process that has made no index yet
    if pid == 0:
        threading.Thread(target=drqfaiss.IndexDRQ, args=(16, 2, 4)).start()
        time.sleep(delay)
        child(lambda: drqfaiss.IndexDRQ(16, 2, 4).d)
        os._exit(0)
    os.waitpid(pid, 0)
"""
    assert run(code) == ["16"] * 6
