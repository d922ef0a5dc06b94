import re

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss.cli import main
from tests.indexes import make_index

INFO = {"library": "libfaiss.so", "build_id": "abc", "known": None}


def test_info_tells_versions_and_simd_level(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert faiss.__version__ in lines["faiss"]
    assert lines["SIMD level"].strip() == drqfaiss.simd_level()
    info = drqfaiss.plugin_info()
    assert lines["faiss build"].strip() == f"{info['build_id']} ({info['known']})"
    on = [name for name, reason in info["capabilities"].items() if not reason]
    assert lines["inside FAISS"].strip() == ", ".join(on) == "flat, ivf_lists, ivf_scanner"


def test_info_tells_what_does_not_work_inside_faiss(capsys, monkeypatch):
    off = {"flat": "", "ivf_lists": "it lacks a class", "ivf_scanner": "ivf_lists is off"}
    monkeypatch.setattr(drqfaiss, "plugin_info", lambda: dict(INFO, capabilities=off))
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "inside FAISS:" in out
    assert re.search("(?m)^not inside FAISS: ivf_lists: it lacks a class, ", out)
    assert re.search("faiss build: +abc \\(unknown\\)\n", out)


def test_an_index_is_described(files, run):
    assert run("info", files / "filled.faiss") == {
        "index": "IndexDRQ",
        "d": 16,
        "vectors": 600,
        "metric": "l2",
        "levels": 3,
        "bits": 4,
        "code_bytes": 2,
        "tail": None,
        "tail_levels": None,
        "tail_bytes": None,
        "lists": None,
        "nprobe": None,
    }


def test_a_side_file_is_described_and_checked(tmp_path, run, fails):
    path, tail = tmp_path / "x.faiss", tmp_path / "x.faiss.tail"
    drqfaiss.split_tail(make_index(200, nbits=8), 2, path)
    for arguments in ((), ("--check",)):
        info = run("info", path, *arguments)
        assert (info["levels"], info["code_bytes"]) == (2, 2)
        assert (info["tail"], info["tail_levels"], info["tail_bytes"]) == (str(tail), 3, 3)
    content = bytearray(tail.read_bytes())
    content[-1 - 3 * 150] ^= 1
    tail.write_bytes(content)
    assert run("info", path)["tail"] == str(tail)
    assert "the digest of the rows" in fails("info", path, "--check")


def test_only_side_files_are_checked(files, fails):
    assert "without a side file" in fails("info", files / "filled.faiss", "--check")


def test_lists_are_described(files, run):
    info = run("info", files / "ivf.faiss")
    assert (info["index"], info["lists"], info["nprobe"], info["levels"]) == ("IndexIVFFlat", 8, 1, None)


def test_an_index_without_codes_is_described(tmp_path, run):
    faiss.write_index(faiss.IndexHNSWFlat(8, 4), str(tmp_path / "hnsw.faiss"))
    assert run("info", tmp_path / "hnsw.faiss")["code_bytes"] is None


@pytest.mark.parametrize("content", [b"", b"abc", np.arange(100).tobytes()])
def test_other_files_are_refused(content, tmp_path, fails):
    (tmp_path / "x.faiss").write_bytes(content)
    assert "x.faiss: not a FAISS index, or damaged" in fails("info", tmp_path / "x.faiss")
