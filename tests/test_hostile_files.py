"""Damaged files of every format: readers return or raise ValueError or OSError, and take little memory."""

import subprocess
import sys
import zipfile

import faiss
import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import drqfaiss
from drqfaiss import check_tail, read_index, split_tail, write_index
from drqfaiss.build import build_index
from drqfaiss.datasets import load_dataset, open_vectors, read_floats, write_vecs
from drqfaiss.quantizer import Group
from tests.indexes import make_index, make_vectors

X = make_vectors(40)


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file.attrs["distance"] = "euclidean"
        file["train"], file["test"], file["neighbors"] = X, X[:3], np.zeros((3, 2), np.int32)
        file.create_dataset("packed", data=X, chunks=(10, 16), compression="gzip", shuffle=True)


def write_build(path):
    write_index(make_index(0), path.with_name("trained"))
    with pytest.raises(ValueError, match="NaN"):
        build_index(path.with_name("trained"), np.full((5, 16), np.nan, np.float32), path.with_name("out"))
    path.with_name("out.build").joinpath("build.json").rename(path)


def read_build(path):
    work = path.with_name("out.build")
    work.mkdir(exist_ok=True)
    (work / "build.json").write_bytes(path.read_bytes())
    build_index(path.with_name("trained"), X, path.with_name("out"), progress=False)


def read_parts(path):
    for part in ("train", "packed"):
        read_floats(open_vectors(f"{path}:{part}"))
    load_dataset(path)


def write_blocks(path):
    groups = [Group(X[:16]), Group(X[:8, :4], 2), Group(X[:8, :3], 7)]
    rotation = np.linalg.qr(X[:16])[0]
    drqfaiss.Quantizer.from_groups(groups, [0, 1, 2, 1], np.ones(4), X[0], rotation).save(path)


FORMATS = {
    "npz": (lambda path: drqfaiss.Quantizer(X[:16], [1.0, 0.5]).save(path), drqfaiss.Quantizer.load),
    "blocks.npz": (write_blocks, drqfaiss.Quantizer.load),
    "npy": (lambda path: np.save(path, X), lambda path: read_floats(open_vectors(path))),
    "fvecs": (lambda path: write_vecs(path, X), lambda path: read_floats(open_vectors(path))),
    "ivecs": (lambda path: write_vecs(path, X.astype(np.int64)), open_vectors),
    "hdf5": (write_hdf5, read_parts),
    "json": (write_build, read_build),
    "tail": (
        lambda path: split_tail(make_index(40), 2, path.with_suffix(".head"), tail_path=path),
        check_tail,
    ),
    "faiss": (lambda path: write_index(make_index(40), path), read_index),
}


@pytest.fixture(scope="module", params=FORMATS)
def format_(request, tmp_path_factory):
    """A file, its content and what reads it."""
    path = tmp_path_factory.mktemp("hostile") / f"x.{request.param}"
    write, read = FORMATS[request.param]
    write(path)
    return path, path.read_bytes(), read


def damage(content, cut, flips, patch):
    """Flip bits, write a number of 1 to 8 bytes, mostly near the start or the end, and cut the file off."""
    data = bytearray(content)
    for where, bit in flips:
        data[where % len(data)] ^= 1 << bit
    if patch is not None:
        where, size, value = patch
        start = where % len(data)
        data[start : start + size] = value.to_bytes(8, "little")[:size]
    return bytes(data[: len(data) - cut])


places = st.one_of(st.integers(0, 200), st.integers(-300, -1), st.integers(0, 1 << 20))
values = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 63).map(lambda bit: 1 << bit))


@pytest.fixture(autouse=True)
def faiss_limit():
    """FAISS makes room for what a file claims, up to a limit that a process may set, in newer versions."""
    if not hasattr(faiss, "set_deserialization_vector_byte_limit"):
        yield
        return
    before = faiss.get_deserialization_vector_byte_limit()
    faiss.set_deserialization_vector_byte_limit(1 << 26)
    yield
    faiss.set_deserialization_vector_byte_limit(before)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.one_of(st.just(0), st.integers(0, 4_000)),
    flips=st.lists(st.tuples(places, st.integers(0, 7)), max_size=3),
    patch=st.none() | st.tuples(places, st.integers(1, 8), values),
)
def test_only_documented_errors_come_out(format_, cut, flips, patch):
    path, content, read = format_
    path.write_bytes(damage(content, min(cut, len(content)), flips, patch))
    try:
        read(path)
    except (ValueError, OSError) as error:
        assert path.name in str(error) or "out" in str(error) or "vectors" in str(error)


def bomb(path, name):
    """A model with an array of 1 GiB of zeros in a file of 1 MB."""
    drqfaiss.Quantizer(X[:16], [1.0, 0.5]).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            if member != f"{name}.npy":
                archive.writestr(member, data)
        with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f4", "fortran_order": False, "shape": (65536, 4096)}
            )
            for _ in range(1024):
                file.write(bytes(1 << 20))


def hdf5_bomb(path, name):
    """An array of 1 GiB of zeros in a file of 1 MB: one chunk, packed, that all places but one leave out."""
    with h5py.File(path, "w") as file:
        array = file.create_dataset(
            name, (1 << 16, 1 << 12), "<f4", chunks=(1 << 14, 1 << 12), compression="gzip"
        )
        array[:1] = 0


MEMORY = """
import resource, sys
import drqfaiss
from drqfaiss.datasets import open_vectors, read_floats
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    if sys.argv[1].endswith("npz"):
        drqfaiss.Quantizer.load(sys.argv[1])
    else:
        read_floats(open_vectors(sys.argv[1]))
except ValueError as error:
    print("refused", end=" ")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "refused"), [("codebook", True), ("rotation", True), ("comment", False), ("x.hdf5", True)]
)
def test_files_that_unpack_to_a_gigabyte_take_little_memory(name, refused, tmp_path):
    path = tmp_path / ("x.hdf5" if name == "x.hdf5" else "x.npz")
    (hdf5_bomb if name == "x.hdf5" else bomb)(path, name.removesuffix(".hdf5"))
    done = subprocess.run([sys.executable, "-c", MEMORY, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *told, mebibytes = done.stdout.split()
    assert told == (["refused"] if refused else [])
    assert int(mebibytes) < 100


def test_archives_with_more_members_or_a_larger_directory_than_a_model_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(300):
            archive.writestr(f"{i}.npy", b"")
    with pytest.raises(ValueError, match=r"x\.npz: .*an archive of 300 arrays, expected at most 256"):
        drqfaiss.Quantizer.load(path)


@pytest.mark.parametrize("value", [b"((((((", b"(4, -4)", b"(9, 16)", b"([], 1)"])
def test_headers_in_archives_name_the_array(tmp_path, value):
    path = tmp_path / "x.npz"
    drqfaiss.Quantizer(X[:16], [1.0, 0.5]).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    old = b"(16, 16)"
    members["codebook.npy"] = members["codebook.npy"].replace(old, value.ljust(len(old)), 1)
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    with pytest.raises(ValueError, match=r"x\.npz: .*codebook: "):
        drqfaiss.Quantizer.load(path)


@pytest.mark.parametrize("flag", [1, 0x40, 0x20])
def test_archives_that_need_a_password_or_a_later_zip_are_refused(tmp_path, flag):
    path = tmp_path / "x.npz"
    drqfaiss.Quantizer(X[:16], [1.0, 0.5]).save(path)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= flag
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.npz: not a drqfaiss\.Quantizer file, or truncated"):
        drqfaiss.Quantizer.load(path)


def test_an_index_that_claims_more_than_there_is_is_refused(tmp_path):
    index = make_index(40)
    whole = faiss.serialize_index(index).tobytes()
    codes = faiss.vector_to_array(index.codes).tobytes()
    at = whole.index(codes) - 8
    for size in (1 << 62, 1 << 44, len(codes) + 1):
        (tmp_path / "x.faiss").write_bytes(whole[:at] + size.to_bytes(8, "little") + whole[at + 8 :])
        with pytest.raises(ValueError, match=r"x\.faiss: not a FAISS index, or damaged"):
            read_index(tmp_path / "x.faiss")
