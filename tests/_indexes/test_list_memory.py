"""What a search of many queries in inverted lists takes in memory at a time."""

import subprocess
import sys

import pytest

PROGRAM = """
import faiss, numpy as np, resource
import drqfaiss

levels, nbits, n, k = {levels}, {nbits}, {n}, {k}
faiss.omp_set_num_threads(1)
rng = np.random.default_rng(0)
codebooks = np.array([[[1]], [[0.5]]], np.float32)[:levels] * rng.standard_normal((1 << nbits, 4), np.float32)
coarse = faiss.IndexFlatL2(4)
coarse.add(rng.standard_normal((3, 4), np.float32))
index = drqfaiss.IndexIVFDRQ.from_codebooks(coarse, codebooks)
codes = rng.integers(0, 256, (n, index.sa_code_size()), np.uint8)
codes[:, 0] %= 3
index.add_sa_codes(codes)
index.nprobe = 3
x = rng.standard_normal((512, 4), np.float32)
D, I = np.zeros((512, k), np.float32), np.zeros((512, k), np.int64)
two_stages = drqfaiss.SearchParametersIVFDRQ(1, nprobe=3, refine_factor=2)
index.search(x[:1], k), index.search(x[:1], k, params=two_stages)

pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (128 << 20),) * 2)
index.search(x, k, D=D, I=I)
index.search(x, k // 2, D=D[:, : k // 2].copy(), I=I[:, : k // 2].copy(), params=two_stages)
"""


@pytest.mark.parametrize(
    ("levels", "nbits", "n", "k"),
    [
        (2, 16, 300, 6),  # Tables of all 512 queries would take 256 MiB,
        (2, 8, 20_000, 12_000),  # and results, up to twice as many as are wanted, 200 MB.
    ],
)
def test_queries_are_searched_some_at_a_time(levels, nbits, n, k):
    program = PROGRAM.format(levels=levels, nbits=nbits, n=n, k=k)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
