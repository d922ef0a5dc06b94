import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss.datasets import open_vectors


@pytest.mark.parametrize("name", ["base.npy", "base.fvecs", "base.bvecs", "data.hdf5:train"])
def test_an_empty_index_is_trained_on_every_format(name, files, run, tmp_path):
    told = run("train", files / name, "-o", tmp_path / "x.faiss", "--factory", "DRQ2x4", "--iterations", 2)
    assert (told["d"], told["learned_rows"]) == (16, 600)
    index = drqfaiss.read_index(tmp_path / "x.faiss")
    assert (type(index), index.ntotal, index.is_trained) == (drqfaiss.IndexDRQ, 0, True)
    expected = drqfaiss.IndexDRQ(16, 2, 4, iterations=2)
    expected.train(np.array(open_vectors(str(files / name))[:], np.float32))
    np.testing.assert_array_equal(
        faiss.vector_to_array(index.rq.codebooks), faiss.vector_to_array(expected.rq.codebooks)
    )


def test_options_reach_the_training(files, run, tmp_path):
    common = ("train", files / "base.npy", "--factory", "PCA8,DRQ2x4", "--iterations", 2)
    run(*common, "-o", tmp_path / "l2.faiss")
    run(
        *common,
        "-o",
        tmp_path / "ip.faiss",
        "--metric",
        "ip",
        "--scale",
        "geometric",
        "--beam",
        3,
        "--seed",
        5,
    )
    assert drqfaiss.read_index(tmp_path / "ip.faiss").metric_type == faiss.METRIC_INNER_PRODUCT
    assert (tmp_path / "l2.faiss").read_bytes() != (tmp_path / "ip.faiss").read_bytes()
    run(*common, "-o", tmp_path / "own.faiss", "--own-first", "--quality", "fast")
    own = drqfaiss.read_index(tmp_path / "own.faiss")
    assert drqfaiss.Quantizer.from_index(own.index).first_codebook is not None
    told = run(*common, "-o", tmp_path / "few.faiss", "--learn", 100)
    assert told["learned_rows"] == 100


def test_normalized_vectors_are_learned(files, run, tmp_path):
    run("train", files / "base.npy", "-o", tmp_path / "x.faiss", "--factory", "PCA8,Flat", "--normalize")
    index = drqfaiss.read_index(tmp_path / "x.faiss")
    mean = faiss.vector_to_array(faiss.downcast_VectorTransform(index.chain.at(0)).mean)
    base = np.load(files / "base.npy")
    np.testing.assert_allclose(mean, (base / np.linalg.norm(base, axis=1)[:, None]).mean(0), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.npy", "-o", "x.faiss"], "none.npy: no such file"),
        (["base.csv", "-o", "x.faiss"], "suffix '.csv', expected one of"),
        (["data.hdf5", "-o", "x.faiss"], "got part '', expected data.hdf5:PART, PART one of"),
        (["data.hdf5:nix", "-o", "x.faiss"], "got part 'nix'"),
        (["base.npy", "-o", "none/x.faiss"], "the folder none does not exist"),
        (["base.npy", "-o", "x.faiss", "--factory", "DRQ8y"], "got 'DRQ8y', expected DRQ<levels>x<bits>"),
        (["base.npy", "-o", "x.faiss", "--factory", "PQ3"], "FAISS cannot build 'PQ3'"),
        (["base.npy", "-o", "x.faiss", "--factory", "PQ8", "--beam", "3"], "--beam: got options of DRQ"),
        (
            ["base.npy", "-o", "x.faiss", "--learn", "9", "--factory", "DRQ2x4"],
            "base.npy: got 9 training vectors",
        ),
    ],
)
def test_errors_name_what_was_expected(arguments, message, files, fails, tmp_path, monkeypatch):
    for name in ("base.npy", "data.hdf5"):
        (tmp_path / name).symlink_to(files / name)
    (tmp_path / "base.csv").write_text("1,2")
    monkeypatch.chdir(tmp_path)
    assert message in fails("train", *arguments)
    assert not (tmp_path / "x.faiss").exists()
