"""Files: stock ones are written, fast indexes come back."""

import io
import os
import resource
import stat
import threading

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import drqfaiss
from drqfaiss import DamagedIndexError, IndexDRQ, SearchParametersDRQ, read_index, write_index
from drqfaiss._core import plugin
from drqfaiss._plugin.layout import address
from tests import reference
from tests.indexes import (
    METRICS,
    D,
    assert_searches_right,
    make_codebooks,
    make_index,
    make_vectors,
    stock_copy,
)
from tests.readers import reading_in_background

X = make_vectors(7, seed=1)


@pytest.mark.parametrize("metric", METRICS)
def test_file_is_a_stock_file_with_the_same_results(tmp_path, metric):
    index = make_index(metric=metric)
    ours, theirs = tmp_path / "ours.faiss", tmp_path / "theirs.faiss"
    write_index(index, ours)
    faiss.write_index(stock_copy(index), str(theirs))
    assert ours.read_bytes() == theirs.read_bytes()
    assert ours.read_bytes()[:4] == b"IxRq"
    stock = faiss.read_index(str(ours))
    assert type(stock) is faiss.IndexResidualQuantizer
    reference.assert_neighbours(stock.search(X, 10), index.search(X, 10), scale=100)


@pytest.mark.parametrize("as_source", [str, lambda path: path, lambda path: path.read_bytes()])
def test_read_back(tmp_path, as_source):
    index = make_index()
    path = tmp_path / "x.faiss"
    write_index(index, path)
    back = read_index(as_source(path))
    assert type(back) is IndexDRQ
    np.testing.assert_array_equal(back.search(X, 5), index.search(X, 5))
    back.add(X)
    assert_searches_right(back, X, levels=2, params=SearchParametersDRQ(2))


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_read_bytes_of_any_kind(kind):
    index = make_index()
    back = read_index(kind(faiss.serialize_index(index).tobytes()))
    np.testing.assert_array_equal(back.search(X, 5), index.search(X, 5))


def test_mapped_file(tmp_path):
    index = make_index()
    path = tmp_path / "x.faiss"
    write_index(index, path)
    mapped = read_index(path, faiss.IO_FLAG_MMAP_IFC)
    assert not mapped.codes.is_owned
    np.testing.assert_array_equal(mapped.search(X, 5), index.search(X, 5))
    assert_searches_right(mapped, X, levels=3, params=SearchParametersDRQ(3))


def test_empty_index(tmp_path):
    write_index(make_index(0), tmp_path / "x.faiss")
    back = read_index(tmp_path / "x.faiss")
    assert back.ntotal == 0 and back.is_trained
    back.add(X)
    assert_searches_right(back, X, k=3)


CONTAINERS = {
    "IDMap2": faiss.IndexIDMap2,
    "PreTransform": lambda index: faiss.IndexPreTransform(faiss.RandomRotationMatrix(D, D), index),
    "RefineFlat": faiss.IndexRefineFlat,
}


@pytest.mark.parametrize("wrap", CONTAINERS.values(), ids=CONTAINERS)
def test_containers_come_back_fast(tmp_path, wrap):
    outer = wrap(make_index(0))
    if isinstance(outer, faiss.IndexPreTransform):
        outer.train(make_vectors(100))
    if isinstance(outer, faiss.IndexIDMap2):
        outer.add_with_ids(make_vectors(100), np.arange(100) + 5)
    else:
        outer.add(make_vectors(100))
    write_index(outer, tmp_path / "x.faiss")
    back = read_index(tmp_path / "x.faiss")
    assert type(back) is type(outer)
    inner = faiss.downcast_index(back.base_index if isinstance(back, faiss.IndexRefine) else back.index)
    assert plugin.is_adopted(address(inner))
    np.testing.assert_array_equal(back.search(X, 5), outer.search(X, 5))


def test_other_indexes_are_read_as_faiss_reads_them(tmp_path):
    flat = faiss.IndexFlatL2(D)
    flat.add(X)
    write_index(flat, tmp_path / "x.faiss")
    assert type(read_index(tmp_path / "x.faiss")) is faiss.IndexFlatL2
    unsupported = stock_copy(make_index())
    unsupported.metric_type = faiss.METRIC_L1
    write_index(unsupported, tmp_path / "x.faiss")
    assert type(read_index(tmp_path / "x.faiss")) is faiss.IndexResidualQuantizer


def test_missing_files_are_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_index(tmp_path / "none.faiss")
    with pytest.raises(IsADirectoryError):
        read_index(tmp_path)
    with pytest.raises(FileNotFoundError):
        write_index(make_index(), tmp_path / "no" / "folder.faiss")
    with pytest.raises(IsADirectoryError):
        write_index(make_index(), tmp_path)


@pytest.mark.parametrize("wrap", [lambda index: index, *CONTAINERS.values()], ids=["IndexDRQ", *CONTAINERS])
def test_untrained_indexes_are_not_written(tmp_path, wrap):
    with pytest.raises(ValueError, match="index: got an untrained residual quantizer index"):
        write_index(wrap(IndexDRQ(D)), tmp_path / "x.faiss")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("existing", [[], [b"precious"]])
def test_a_failed_write_leaves_what_was_there(tmp_path, existing):
    path = tmp_path / "x.faiss"
    for content in existing:
        path.write_bytes(content)
    with pytest.raises(RuntimeError, match="serialize"):
        write_index(faiss.IndexShards(D), path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == existing


def test_overwriting(tmp_path, monkeypatch):
    path, link = tmp_path / "x.faiss", tmp_path / "link.faiss"
    path.write_bytes(b"old")
    link.symlink_to(path)
    monkeypatch.chdir(tmp_path)
    write_index(make_index(), "link.faiss")
    assert link.is_symlink()
    assert read_index(path).ntotal == 300
    assert sorted(tmp_path.iterdir()) == [link, path]


def test_wrong_types(tmp_path):
    with pytest.raises(TypeError, match=r"index: got 'x', expected a faiss\.Index"):
        write_index("x", tmp_path / "x.faiss")
    assert not (tmp_path / "x.faiss").exists()
    for source in (3, None, [1, 2]):
        with pytest.raises(TypeError, match=r"source: got .*, expected the name of a file"):
            read_index(source)
    with pytest.raises(TypeError, match="io_flags: got 'r'"):
        read_index(tmp_path / "x.faiss", "r")


@pytest.mark.parametrize("content", [b"", b"\0", b"%PDF-1.7 not an index", b"\x89HDF\r\n\x1a\n" * 100])
def test_foreign_files(tmp_path, content):
    path = tmp_path / "foreign.bin"
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match=r"foreign\.bin: not a FAISS index, or damaged"):
        read_index(path)
    with pytest.raises(RuntimeError, match="the bytes given: not a FAISS index, or damaged"):
        read_index(content)


WHOLE = faiss.serialize_index(make_index(20)).tobytes()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(WHOLE) - 1))
def test_truncated_files(length):
    with pytest.raises(RuntimeError, match="not a FAISS index, or damaged"):
        read_index(WHOLE[:length])


@pytest.mark.parametrize("metric", METRICS)
def test_plain_faiss_searches_a_file_of_one_level(metric):
    index = make_index(levels=1, metric=metric)
    plain = stock_copy(index)
    x = make_vectors(5, seed=1)
    # One level of 4 bits: most vectors tie, and only we order ties by id.
    np.testing.assert_allclose(plain.search(x, 10)[0], index.search(x, 10)[0], atol=1e-5)


def make_ivf():
    coarse = faiss.IndexFlatL2(D)
    coarse.add(make_vectors(4, seed=3))
    index = drqfaiss.IndexIVFDRQ.from_codebooks(coarse, make_codebooks())
    index.add(make_vectors(300))
    return index


@pytest.mark.parametrize("flags", [faiss.IO_FLAG_MMAP, faiss.IO_FLAG_MMAP_IFC])
@pytest.mark.parametrize("make", [make_index, make_ivf])
def test_files_are_mapped_as_faiss_maps_them(make, flags, tmp_path):
    index = make()
    write_index(index, tmp_path / "x.faiss")
    mapped = read_index(tmp_path / "x.faiss", flags)
    assert type(mapped) is type(index)
    np.testing.assert_array_equal(mapped.search(X, 5), index.search(X, 5))


def test_mapped_files_that_are_too_short_are_refused(tmp_path):
    """Reading the lists that are not there would end the process."""
    path = tmp_path / "x.faiss"
    write_index(make_ivf(), path)
    whole = path.read_bytes()
    for length in range(len(whole) - 2_500, len(whole), 100):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedIndexError, match=r"x\.faiss: "):
            read_index(path, faiss.IO_FLAG_MMAP)


def test_lists_on_disk_that_lie_outside_their_file_are_refused(tmp_path):
    index, lists = make_ivf(), tmp_path / "lists"
    on_disk = faiss.OnDiskInvertedLists(index.nlist, index.code_size, str(lists))
    on_disk.merge_from_1(index.invlists)
    index.replace_invlists(on_disk)
    write_index(index, tmp_path / "x.faiss")
    np.testing.assert_array_equal(read_index(tmp_path / "x.faiss").search(X, 5), index.search(X, 5))
    written = (tmp_path / "x.faiss").read_bytes()
    one = on_disk.lists.at(2)
    at = written.index(np.array([one.size, one.capacity, one.offset], "<u8").tobytes())
    (tmp_path / "x.faiss").write_bytes(written[:at] + (1 << 40).to_bytes(8, "little") + written[at + 8 :])
    with pytest.raises(DamagedIndexError, match=r"lists: got 1099511627776 vectors in inverted list 2"):
        read_index(tmp_path / "x.faiss")
    (tmp_path / "x.faiss").write_bytes(written)
    os.truncate(lists, 10)
    with pytest.raises(DamagedIndexError, match="lists: got 10 bytes, expected"):
        read_index(tmp_path / "x.faiss", faiss.IO_FLAG_READ_ONLY)


def test_open_files_readers_and_writers(tmp_path):
    index = make_index()
    expected = faiss.serialize_index(index).tobytes()
    file, writer = io.BytesIO(b"before"), faiss.VectorIOWriter()
    file.seek(6)
    write_index(index, file)
    write_index(index, writer)
    assert file.getvalue() == b"before" + expected
    assert faiss.vector_to_array(writer.data).tobytes() == expected
    file.seek(6)
    reader = faiss.VectorIOReader()
    faiss.copy_array_to_vector(np.frombuffer(expected, np.uint8), reader.data)
    for source in (file, reader):
        np.testing.assert_array_equal(read_index(source).search(X, 5), index.search(X, 5))
    with pytest.raises(DamagedIndexError, match="the file given: not a FAISS index, or damaged"):
        read_index(io.BytesIO(expected[:100]))
    with pytest.raises(TypeError, match="path: got 3, expected the name of a file"):
        write_index(index, 3)


class Failing(io.RawIOBase):
    def read(self, count):
        raise KeyError("mine")

    def write(self, data):
        return None


def test_errors_of_open_files_arrive_as_they_were():
    with pytest.raises(KeyError, match="mine"):
        read_index(Failing())
    with pytest.raises(OSError, match="bytes could not be written without waiting"):
        write_index(make_index(), Failing())


def test_files_that_take_and_give_a_part_at_a_time():
    class Parts(io.BytesIO):
        def write(self, data):
            return super().write(data[:100])

        def read(self, size=-1):
            return super().read(min(size, 100))

    index, file = make_index(), Parts()
    write_index(index, file)
    assert file.getvalue() == faiss.serialize_index(index).tobytes()
    file.seek(0)
    np.testing.assert_array_equal(read_index(file).search(X, 5), index.search(X, 5))


class Named:
    def __init__(self, name):
        self.name = name

    def __fspath__(self):
        return self.name


@pytest.mark.parametrize("name", [b"x.faiss", b"caf\xe9.faiss"])
def test_names_of_any_bytes(tmp_path, name):
    index, path = make_index(), Named(os.path.join(os.fsencode(tmp_path), name))
    write_index(index, path)
    assert os.listdir(os.fsencode(tmp_path)) == [name]
    for source in (path, os.fsdecode(path)):
        np.testing.assert_array_equal(read_index(source).search(X, 5), index.search(X, 5))


def test_a_pipe_is_read_as_faiss_reads_it(tmp_path):
    index, path = make_index(), tmp_path / "pipe"
    content = faiss.serialize_index(index).tobytes()
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    np.testing.assert_array_equal(read_index(path).search(X, 5), index.search(X, 5))
    writer.join()


@pytest.mark.parametrize("short", [1, 200, 5_000])
@pytest.mark.parametrize("rows", [100, 20_000])
def test_a_full_disk_is_an_error_and_the_old_file_stays(tmp_path, rows, short):
    """A limit of the file's size stands for it. FAISS's own writer does not tell of the last 4 KiB."""
    path, index = tmp_path / "x.faiss", make_index(rows)
    write_index(index, path)
    whole = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(len(whole) - short, 0), before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*x\.faiss'"):
            write_index(index, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_stays_private_and_a_pipe_a_pipe(tmp_path):
    index = make_index()
    path = tmp_path / "x.faiss"
    path.touch(0o600)
    write_index(index, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    os.mkfifo(tmp_path / "pipe")
    with reading_in_background(tmp_path / "pipe") as got:
        write_index(index, tmp_path / "pipe")
    assert got == [path.read_bytes()]
