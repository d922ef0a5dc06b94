import numpy as np
import pytest

import drqfaiss
from tests.indexes import make_vectors


@pytest.mark.parametrize("name", ["base.npy", "base.fvecs", "data.hdf5:train"])
def test_an_index_is_filled_from_every_format(name, files, run, tmp_path):
    told = run("build", files / "trained.faiss", files / name, "-o", tmp_path / "x.faiss", "--chunk", 77)
    assert (told["vectors"], told["added"], told["resumed_at"]) == (600, 600, 0)
    assert (tmp_path / "x.faiss").read_bytes() == (files / "filled.faiss").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["x.faiss"]


def test_vectors_are_added_to_those_that_are_there(files, run, tmp_path):
    told = run("build", files / "filled.faiss", files / "query.npy", "-o", tmp_path / "x.faiss")
    assert (told["vectors"], told["added"]) == (620, 20)


def test_normalized_vectors_are_added(files, run, tmp_path):
    run("build", files / "trained.faiss", files / "base.npy", "-o", tmp_path / "x.faiss", "--normalize")
    index = drqfaiss.read_index(tmp_path / "x.faiss")
    base = make_vectors(600)
    codes = index.sa_encode(base / np.linalg.norm(base, axis=1, keepdims=True))
    np.testing.assert_array_equal(index.reconstruct_n(0, 600), index.sa_decode(codes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.faiss", "base.npy", "-o", "x.faiss"], "none.faiss: No such file"),
        (["trained.faiss", "none.npy", "-o", "x.faiss"], "none.npy: no such file"),
        (["trained.faiss", "narrow.npy", "-o", "x.faiss"], "got shape (3, 5), expected (n, 16)"),
        (
            ["trained.faiss", "nan.npy", "-o", "x.faiss"],
            "NaN or infinite, the first at (2, 3)",
        ),
        (["trained.faiss", "base.npy", "-o", "none/x.faiss"], "the folder none does not exist"),
    ],
)
def test_errors_name_what_was_expected(arguments, message, files, fails, tmp_path, monkeypatch):
    for name in ("trained.faiss", "base.npy"):
        (tmp_path / name).symlink_to(files / name)
    np.save(tmp_path / "narrow.npy", np.zeros((3, 5), np.float32))
    bad = make_vectors(4)
    bad[2, 3] = np.nan
    np.save(tmp_path / "nan.npy", bad)
    monkeypatch.chdir(tmp_path)
    assert message in fails("build", *arguments)
    assert not (tmp_path / "x.faiss").exists()
