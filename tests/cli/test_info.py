import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss.cli import main


def test_info_tells_versions_and_simd_level(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert faiss.__version__ in lines["faiss"]
    assert lines["SIMD level"].strip() == drqfaiss.simd_level()
    assert "passed" in lines["self-check"]
    assert "search" in lines["self-check"]


def test_an_index_is_described(files, run):
    assert run("info", files / "filled.faiss") == {
        "index": "IndexDRQ",
        "d": 16,
        "vectors": 600,
        "metric": "l2",
        "levels": "3",
        "bits": "4",
        "code bytes": 2,
        "lists": None,
        "nprobe": None,
    }


def test_lists_are_described(files, run):
    info = run("info", files / "ivf.faiss")
    assert (info["index"], info["lists"], info["nprobe"], info["levels"]) == ("IndexIVFFlat", 8, 1, None)


def test_an_index_without_codes_is_described(tmp_path, run):
    faiss.write_index(faiss.IndexHNSWFlat(8, 4), str(tmp_path / "hnsw.faiss"))
    assert run("info", tmp_path / "hnsw.faiss")["code bytes"] is None


@pytest.mark.parametrize("content", [b"", b"abc", np.arange(100).tobytes()])
def test_other_files_are_refused(content, tmp_path, fails):
    (tmp_path / "x.faiss").write_bytes(content)
    assert "x.faiss: not a FAISS index, or damaged" in fails("info", tmp_path / "x.faiss")
