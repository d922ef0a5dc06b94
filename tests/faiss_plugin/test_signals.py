"""Ctrl-C stops every long call within a second, as it stops FAISS's own, and leaves the index as it was."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # a process for every call

SETUP = """
import os, signal, sys, threading, time
import numpy as np, faiss, drqfaiss

threads, kind = int(sys.argv[1]), sys.argv[2]
faiss.omp_set_num_threads(threads)
rng = np.random.default_rng(0)
D = 32
codebooks = np.array([0.8**m * rng.normal(size=(256, D)) for m in range(8)]).astype("f4")
coarse = faiss.IndexFlatL2(D)
coarse.add(rng.normal(size=(32, D)).astype("f4"))
flat = drqfaiss.IndexDRQ.from_codebooks(codebooks, beam=8)
ivf = drqfaiss.IndexIVFDRQ.from_codebooks(coarse, codebooks, beam=8)
codes = rng.integers(0, 256, (200_000, 8)).astype("u1")
flat.add_sa_codes(codes)
ivf.add_sa_codes(np.concatenate([codes[:, :1] % 32, codes], 1))
ivf.nprobe = 32
x = rng.normal(size=(100, D)).astype("f4")
many = np.tile(x, (20_000, 1))

def state():
    return [(index.ntotal, index.search(x[:5], 10)[1].tolist()) for index in (flat, ivf)]

def interrupted(work):
    # The first signal after the call has begun counts; how late it stops does not include starting it.
    before = state()
    pressed = []
    def press():
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    timer = threading.Timer(0.4, press)
    timer.start()
    try:
        work()
        print("not interrupted")
    except KeyboardInterrupt:
        late = time.monotonic() - pressed[0]
        print("late" if late > 5 else "interrupted", "changed" if state() != before else "unchanged")
    timer.cancel()
"""
WORK = {
    "flat search": "flat.search(many, 10)",
    "flat range search": "flat.range_search(many, 1e-3)",
    "ivf search": "ivf.search(many, 10)",
    "ivf search by FAISS": "setattr(ivf, 'parallel_mode', 1); ivf.search(many, 10)",
    "ivf range search": "ivf.range_search(many, 1e-3)",
    "preassigned": "ivf.search_preassigned(many, 10, *coarse.search(many, 32)[::-1])",
    "flat add": "flat.add(many)",
    "ivf add": "ivf.add(many)",
    "flat sa_encode": "flat.sa_encode(many)",
    "ivf sa_encode": "ivf.sa_encode(many)",
    "encode": "drqfaiss._core.encode(many, codebooks, 8)",
    "inside another": "faiss.IndexPreTransform(flat).search(many, 10)",
    "training": "drqfaiss.IndexDRQ(D, 8, 8, iterations=1000, progress=False).train(many[:50_000])",
    "training inside": "drqfaiss.index_factory(D, 'PCA16,DRQ8x8', iterations=1000).train(many[:50_000])",
    "training of residuals": "drqfaiss.index_factory(D, 'IVF4,DRQ8x8', iterations=1000).train(many[:50_000])",
}


@pytest.mark.parametrize(
    ("work", "threads"), [*zip(WORK.values(), (1, 2) * len(WORK), strict=False)], ids=[*WORK]
)
def test_ctrl_c(work, threads):
    if "setattr" in work:  # as one expression
        work = "(" + work.replace("; ", ", ") + ")"
    code = SETUP + f"interrupted(lambda: {work})"
    done = subprocess.run(
        [sys.executable, "-c", code, str(threads), work], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["interrupted", "unchanged"], done.stdout + done.stderr


def test_norms_of_the_first_search_can_be_interrupted():
    code = (
        SETUP
        + """
big = drqfaiss.IndexDRQ.from_codebooks(np.tile(codebooks, (1, 1, 32)))
big.add_sa_codes(np.tile(codes, (60, 1)))
interrupted(lambda: big.search(np.zeros((1, 32 * D)), 1))
"""
    )
    done = subprocess.run([sys.executable, "-c", code, "1", ""], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["interrupted", "unchanged"], done.stdout + done.stderr


def test_the_handler_of_the_program_is_called():
    """A handler that does not raise lets the call go on."""
    code = (
        SETUP
        + """
handled = []
signal.signal(signal.SIGUSR1, lambda *_: handled.append(time.monotonic()))
expected = flat.search(many[:100_000], 3)[1]
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
found = flat.search(many[:100_000], 3)[1]
time.sleep(0.2)
print(len(handled), np.array_equal(found, expected))
"""
    )
    done = subprocess.run([sys.executable, "-c", code, "1", ""], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["1", "True"], done.stderr


REENTERED = """
centroids = faiss.IndexFlatL2(32 * D)
centroids.add(rng.normal(size=(32, 32 * D)).astype("f4"))
index = BIG
index.add_sa_codes(CODES)
query, handled = np.zeros((1, index.d), "f4"), []
signal.signal(signal.SIGVTALRM, lambda *_: handled.append(index.search(query, 5)))
signal.setitimer(signal.ITIMER_VIRTUAL, 0.1)  # of the processor's time, a tenth of what the norms take
found = [index.search(query, 5)]
print(len(handled))
found.append(index.search(query, 5))
print(all(np.array_equal(a, b) for f in found for a, b in zip(f, handled[0])))
norms = drqfaiss._core.plugin.cached_norms(int(index.this))
print([count for count, _ in norms.values()] == [index.ntotal])
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_handlers_may_search_the_index_whose_norms_are_being_computed(kind, threads):
    wide = "np.tile(codebooks, (1, 1, 32))"
    if kind == "flat":
        make, codes = f"drqfaiss.IndexDRQ.from_codebooks({wide})", "np.tile(codes, (16, 1))"
    else:
        make = f"drqfaiss.IndexIVFDRQ.from_codebooks(centroids, {wide})\nindex.nprobe = 32"
        codes = "np.tile(np.concatenate([codes[:, :1] % 32, codes], 1), (16, 1))"
    work = REENTERED.replace("BIG", make).replace("CODES", codes)
    done = subprocess.run(
        [sys.executable, "-c", SETUP + work, str(threads), ""], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["1", "True", "True"], done.stdout + done.stderr
