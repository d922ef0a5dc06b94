"""Threads: one team of our own for the whole process, made when first wanted."""

import os
import subprocess
import sys

import pytest


def run(code, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


BIG = """
import os, resource, sys, threading
import numpy as np, faiss, drqfaiss
tasks = lambda: len(os.listdir("/proc/self/task"))
faiss.omp_set_num_threads(6)
rng = np.random.default_rng(0)
index = drqfaiss.IndexDRQ.from_codebooks(rng.normal(size=(4, 256, 16)))
index.add_sa_codes(rng.integers(0, 256, (100_000, 4)).astype("u1"))
x = rng.normal(size=(300, 16)).astype("f4")
"""


def test_import_starts_no_thread():
    code = """
import os
tasks = lambda: len(os.listdir("/proc/self/task"))
import faiss, numpy
before = tasks()
import drqfaiss
print(before, tasks())
"""
    before, after = run(code, OMP_NUM_THREADS="4")
    assert before == after


def test_searching_threads_share_one_team():
    code = """
before = tasks()
meet = threading.Barrier(17)
def work():
    index.search(x[:1], 5)
    index.search(x, 5)
    meet.wait()
    meet.wait()
threads = [threading.Thread(target=work) for _ in range(16)]
[thread.start() for thread in threads]
meet.wait()
print(before + 16, tasks())
meet.wait()
"""
    callers, all_threads = map(int, run(BIG + code))
    assert callers < all_threads <= callers + 5  # omp_set_num_threads(6): the caller and five more


def test_results_do_not_depend_on_who_has_the_team():
    code = """
alone = index.search(x, 5)
wrong = []
def work():
    for _ in range(5):
        found = index.search(x, 5)
        wrong.append(not all(map(np.array_equal, alone, found)))
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(wrong), sum(wrong))
"""
    assert run(BIG + code) == ["40", "0"]


def test_where_no_thread_can_be_made_the_call_runs_on_its_own():
    code = """
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
if os.getuid() == 0:
    os.setuid(65534)
before = tasks()
index.search(x, 5)
index.add(x)
print(before, tasks(), index.ntotal)
"""
    before, after, ntotal = map(int, run(BIG + code))
    assert (after, ntotal) == (before, 100_300)


@pytest.mark.parametrize("binding", ["RTLD_LAZY", "RTLD_NOW"])
def test_the_number_of_threads_is_faiss_own_however_libfaiss_was_loaded(binding):
    code = f"""
import os, sys
sys.setdlopenflags(os.{binding})
import faiss, drqfaiss
faiss.omp_set_num_threads(3)
facts = drqfaiss._core.plugin.facts()
print(facts["threads"], "libgomp" in facts["openmp"])
"""
    assert run(code) == ["3", "True"]


def test_threads_take_no_signals():
    code = """
before = set(os.listdir("/proc/self/task"))
index.search(x, 5)
made = set(os.listdir("/proc/self/task")) - before
for task in made:
    status = open(f"/proc/self/task/{task}/status").read()
    blocked = int(status.split("SigBlk:")[1].split()[0], 16)
    print(all(blocked >> number - 1 & 1 for number in (2, 10, 14, 15, 17)))  # INT, USR1, ALRM, TERM, CHLD
"""
    assert run(BIG + code) == ["True"] * 5


def test_one_thread_makes_no_other():
    code = """
faiss.omp_set_num_threads(1)
before = tasks()
index.search(x, 5)
print(before, tasks())
"""
    before, after = run(BIG + code)
    assert before == after


@pytest.mark.slow
@pytest.mark.parametrize(
    "work",
    ["index.search(x, 5)", "drqfaiss.IndexDRQ(16, 4, 6, progress=False).train(y)", "index.sa_encode(x)"],
)
def test_exit_while_a_daemon_thread_works(work):
    code = f"""
y = rng.normal(size=(2000, 16))
def repeat():
    while True:
        {work}
for _ in range(3):
    threading.Thread(target=repeat, daemon=True).start()
threading.Event().wait(0.3)
print("done")
"""
    for _ in range(3):
        assert run(BIG + code) == ["done"]


def test_adopt_waits_without_the_gil():
    """The search holds the index's lock while it computes norms, and asks for the GIL ten times a second."""
    code = """
big = drqfaiss.IndexDRQ.from_codebooks(rng.normal(size=(4, 256, 128)))
big.add_sa_codes(rng.integers(0, 256, (2_000_000, 4)).astype("u1"))
faiss.omp_set_num_threads(1)
searching = True
def adopt():
    while searching:
        drqfaiss.adopt(big)
adopting = threading.Thread(target=adopt)
adopting.start()
big.search(np.zeros((1, 128)), 1)
searching = False
adopting.join()
print("done")
"""
    assert run(BIG + code) == ["done"]
