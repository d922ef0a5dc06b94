"""Files that the commands work on, and a way to run them."""

import json

import faiss
import h5py
import numpy as np
import pytest

import drqfaiss
from drqfaiss.cli import main
from drqfaiss.datasets import write_vecs
from tests.indexes import make_vectors

N, QUERIES = 600, 20


@pytest.fixture
def run(capsys):
    """Runs a command that must succeed and returns its JSON."""

    def run(*arguments):
        status = main([*map(str, arguments), "--json", "--quiet"])
        out, err = capsys.readouterr()
        assert status == 0, err
        return json.loads(out)

    return run


@pytest.fixture
def fails(capsys):
    """Runs a command that must fail and returns its one line on stderr."""

    def fails(*arguments):
        assert main([*map(str, arguments), "--quiet"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"drqfaiss {arguments[0]}: error: ")
        assert err.count("\n") == 1
        return err

    return fails


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder with vectors in every format, exact neighbours, and indexes; not to be written to."""
    folder = tmp_path_factory.mktemp("files")
    base, query = make_vectors(N), make_vectors(QUERIES, seed=1)
    np.save(folder / "base.npy", base)
    np.save(folder / "query.npy", query)
    write_vecs(folder / "base.fvecs", base)
    write_vecs(folder / "base.bvecs", np.clip(base * 40 + 128, 0, 255))
    truth = faiss.knn(query, base, 10)[1]
    write_vecs(folder / "truth.ivecs", truth)
    with h5py.File(folder / "data.hdf5", "w") as file:
        file.attrs["distance"] = "euclidean"
        file["train"], file["test"], file["neighbors"] = base, query, truth
    index = drqfaiss.IndexDRQ(base.shape[1], 3, 4, iterations=3)
    index.train(base)
    drqfaiss.write_index(index, folder / "trained.faiss")
    index.add(base)
    drqfaiss.write_index(index, folder / "filled.faiss")
    ivf = faiss.index_factory(base.shape[1], "IVF8,Flat")
    ivf.train(base)
    ivf.add(base)
    faiss.write_index(ivf, str(folder / "ivf.faiss"))
    return folder
