"""Arrays and tensors after ``faiss.contrib.torch_utils`` replaced FAISS's methods."""

import subprocess
import sys

import pytest

PROGRAM = """
import faiss, numpy as np, torch, drqfaiss
from tests.indexes import make_index, make_vectors
from tests.ivf_indexes import make_ivf
{imports}
def same(a, b):
    for u, v in zip(a if isinstance(a, tuple) else (a,), b if isinstance(b, tuple) else (b,), strict=True):
        assert isinstance(u, np.ndarray) and isinstance(v, torch.Tensor), (type(u), type(v))
        np.testing.assert_array_equal(u.astype(v.numpy().dtype), v.numpy())
x = make_vectors(300, seed=3)
t = torch.from_numpy(x)
two, also = drqfaiss.SearchParametersDRQ(2), drqfaiss.SearchParametersIVFDRQ(2, 3)
for make, params in ((make_index, two), (make_ivf, also)):
    index = make(200)
    same(index.search(x[:4], 3), index.search(t[:4], 3))
    same(index.search(x[:4], 3, params=params), index.search(t[:4], 3, params=params))
    same(index.range_search(x[:4], 9.0, params=params), index.range_search(t[:4], 9.0, params=params))
    same(index.assign(x[:4], 2), index.assign(t[:4], 2))
    same(index.search_and_reconstruct(x[:4], 2), index.search_and_reconstruct(t[:4], 2))
    codes = index.sa_encode(x[:9])
    same(codes, index.sa_encode(t[:9]))
    same(index.sa_decode(codes), index.sa_decode(torch.from_numpy(codes)))
    D = torch.empty(4, 3)
    assert index.search(t[:4], 3, D=D)[0].data_ptr() == D.data_ptr()
    index.add(t)
    index.add(x)
    index.add_sa_codes(codes)
    index.add_sa_codes(torch.from_numpy(codes))
    assert index.ntotal == 818
    assert index.remove_ids(np.arange(10)) == index.remove_ids(torch.arange(100, 110)) == 10
    trained = drqfaiss.index_factory(16, "DRQ2x4" if make is make_index else "IVF4,DRQ2x4", progress=False)
    trained.train(t)
    trained.train(x)
    assert trained.is_trained
"""


@pytest.mark.parametrize("order", ["before", "after"])
def test_every_method_takes_arrays_and_tensors(order):
    hook = "import faiss.contrib.torch_utils\n"
    program = PROGRAM.format(imports=hook if order == "after" else "")
    code = hook + program if order == "before" else program
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
