import faiss
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drqfaiss.datasets import (
    METRIC_NAMES,
    VECS_DTYPES,
    Dataset,
    RowRange,
    finite_floats,
    load_dataset,
    open_vectors,
    read_vectors,
    sample_rows,
    write_vecs,
)


def vectors(n, d, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, d)).astype(dtype)


@pytest.mark.parametrize("suffix", VECS_DTYPES)
@settings(deadline=None)
@given(n=st.integers(1, 20), d=st.integers(1, 40))
def test_what_is_written_is_read(tmp_path_factory, suffix, n, d):
    path = tmp_path_factory.mktemp("vecs") / f"x{suffix}"
    x = vectors(n, d, VECS_DTYPES[suffix])
    write_vecs(path, x)
    read = read_vectors(path)
    assert read.dtype == x.dtype
    np.testing.assert_array_equal(read, x)


def test_npy_is_memory_mapped(tmp_path):
    np.save(tmp_path / "x.npy", vectors(5, 3))
    read = read_vectors(tmp_path / "x.npy")
    assert isinstance(read, np.memmap)
    np.testing.assert_array_equal(read, vectors(5, 3))


@pytest.mark.parametrize("cut", [1, 3, 4, 15])
def test_a_truncated_file_is_named(tmp_path, cut):
    path = tmp_path / "x.fvecs"
    write_vecs(path, vectors(7, 3))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ValueError, match=r"x\.fvecs: .* expected a multiple of 16"):
        read_vectors(path)


def test_rows_of_another_length_are_named(tmp_path):
    path = tmp_path / "x.ivecs"
    rows = np.full((4, 3), 2, "<i4")
    rows[2, 0] = 9
    rows.tofile(path)
    with pytest.raises(ValueError, match=r"x\.ivecs: got row 2 of dimension 9, expected 2"):
        read_vectors(path)


@pytest.mark.parametrize("content", [b"", b"abc", np.int32(0).tobytes(), np.int32(-4).tobytes()])
def test_a_header_that_is_no_dimension_is_refused(tmp_path, content):
    path = tmp_path / "x.bvecs"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected a positive int32 dimension"):
        read_vectors(path)


def test_a_truncated_npy_is_named(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, vectors(50, 8))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"x\.npy: truncated or not an \.npy file"):
        read_vectors(path)


def test_an_npy_that_is_not_2d_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(4))
    with pytest.raises(ValueError, match=r"shape \(4,\), expected \(n, d\)"):
        read_vectors(tmp_path / "x.npy")


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"suffix '\.csv', expected one of"):
        read_vectors(tmp_path / "x.csv")
    with pytest.raises(ValueError, match=r"suffix '\.csv', expected one of"):
        write_vecs(tmp_path / "x.csv", vectors(2, 2))


def test_vectors_that_are_not_2d_are_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(n, d\)"):
        write_vecs(tmp_path / "x.fvecs", np.zeros(3))
    assert not (tmp_path / "x.fvecs").exists()


def test_one_file_is_split_without_overlap(tmp_path):
    x = np.arange(400, dtype=np.float32).reshape(200, 2)
    np.save(tmp_path / "x.npy", x)
    data = load_dataset(tmp_path / "x.npy", learn=50, queries=30)
    assert (len(data.learn), len(data.base), len(data.query)) == (50, 130, 20)
    together = np.concatenate([data.learn, data.base, data.query])
    np.testing.assert_array_equal(together[together[:, 0].argsort()], x)


def test_a_split_depends_on_the_seed_only(tmp_path):
    np.save(tmp_path / "x.npy", vectors(100, 4))
    first, again, other = (load_dataset(tmp_path / "x.npy", seed=seed).query for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_vectors_to_split_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", vectors(9, 4))
    with pytest.raises(ValueError, match="9 vectors, expected at least 10"):
        load_dataset(tmp_path / "x.npy")


def write_parts(folder, **parts):
    for name, array in parts.items():
        suffix = ".ivecs" if name.endswith("groundtruth") else ".fvecs"
        write_vecs(folder / (name + suffix), array)


def test_parts_are_found_by_directory_and_by_prefix(tmp_path):
    parts = {
        "sift_learn": vectors(8, 4),
        "sift_base": vectors(20, 4),
        "sift_query": vectors(3, 4),
        "sift_groundtruth": np.array([[0], [19], [5]], np.int32),
    }
    write_parts(tmp_path, **parts)
    for path in (tmp_path, tmp_path / "sift"):
        data = load_dataset(path, metric=faiss.METRIC_INNER_PRODUCT)
        assert (data.name, data.metric) == ("sift", faiss.METRIC_INNER_PRODUCT)
        for part in ("learn", "base", "query", "groundtruth"):
            np.testing.assert_array_equal(getattr(data, part), parts[f"sift_{part}"])


def test_training_vectors_come_from_base_where_there_are_none(tmp_path):
    np.save(tmp_path / "base.npy", np.arange(40, dtype=np.float32).reshape(20, 2))
    np.save(tmp_path / "query.npy", vectors(3, 2))
    data = load_dataset(tmp_path, learn=6)
    assert data.learn.shape == (6, 2)
    assert set(data.learn[:, 0]) <= set(data.base[:, 0])
    assert data.groundtruth is None


def test_missing_parts_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or directory"):
        load_dataset(tmp_path / "sift")
    with pytest.raises(FileNotFoundError, match="expected one such file"):
        load_dataset(tmp_path)
    write_parts(tmp_path, a_base=vectors(4, 2))
    with pytest.raises(FileNotFoundError, match="a_query"):
        load_dataset(tmp_path)
    write_parts(tmp_path, b_base=vectors(4, 2))
    with pytest.raises(FileNotFoundError, match=r"\['a_base.fvecs', 'b_base.fvecs'\]"):
        load_dataset(tmp_path)


def write_hdf5(path, distance="euclidean", **parts):
    with h5py.File(path, "w") as file:
        file.attrs["distance"] = distance
        for name, array in parts.items():
            file[name] = array


@pytest.fixture
def hdf5_parts():
    return {
        "train": vectors(20, 4),
        "test": vectors(3, 4, seed=1),
        "neighbors": np.array([[1, 2], [3, 4], [19, 0]]),
        "distances": np.zeros((3, 2)),
    }


def test_hdf5_is_read(tmp_path, hdf5_parts):
    write_hdf5(tmp_path / "x.hdf5", **hdf5_parts)
    data = load_dataset(tmp_path / "x.hdf5", learn=7)
    assert (data.metric, data.learn.shape) == (faiss.METRIC_L2, (7, 4))
    np.testing.assert_array_equal(data.base, hdf5_parts["train"])
    np.testing.assert_array_equal(data.query, hdf5_parts["test"])
    np.testing.assert_array_equal(data.groundtruth, hdf5_parts["neighbors"])


def test_angular_hdf5_is_normalised(tmp_path, hdf5_parts):
    write_hdf5(tmp_path / "x.hdf5", "angular", **hdf5_parts)
    data = load_dataset(tmp_path / "x.hdf5")
    assert data.metric == faiss.METRIC_INNER_PRODUCT
    np.testing.assert_allclose(np.linalg.norm(data.base, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(data.query, axis=1), 1, rtol=1e-6)


def test_another_metric_than_the_files_drops_its_neighbours(tmp_path, hdf5_parts):
    write_hdf5(tmp_path / "x.hdf5", **hdf5_parts)
    data = load_dataset(tmp_path / "x.hdf5", metric=faiss.METRIC_INNER_PRODUCT)
    assert (data.metric, data.groundtruth) == (faiss.METRIC_INNER_PRODUCT, None)


def test_foreign_hdf5_is_refused(tmp_path, hdf5_parts):
    path = tmp_path / "x.hdf5"
    write_hdf5(path, "hamming", **hdf5_parts)
    with pytest.raises(ValueError, match=r"x\.hdf5: got distance 'hamming', expected one of"):
        load_dataset(path)
    write_hdf5(path, train=hdf5_parts["train"])
    with pytest.raises(ValueError, match=r"no \['neighbors', 'test'\]"):
        load_dataset(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(OSError, match=r"x\.hdf5: not a readable HDF5 file"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": 7}, "metric 7"),
        ({"query": vectors(3, 5)}, r"query of shape \(3, 5\)"),
        ({"learn": vectors(0, 4)}, r"learn of shape \(0, 4\)"),
        ({"base": np.zeros(4)}, r"of shape"),
        ({"groundtruth": np.zeros((2, 1), int)}, r"got a groundtruth of shape \(2, 1\), expected \(3, k\)"),
        ({"groundtruth": np.full((3, 1), 20)}, r"groundtruth ids in \[20, 20\], expected \[0, 19\]"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    parts = {"learn": vectors(8, 4), "base": vectors(20, 4), "query": vectors(3, 4)}
    with pytest.raises(ValueError, match=message):
        Dataset("x", **{**parts, **change})


def test_upper_case_suffixes(tmp_path, hdf5_parts):
    write_vecs(tmp_path / "X.FVECS", vectors(4, 3))
    np.save(tmp_path / "x.npy", vectors(4, 3))
    (tmp_path / "x.npy").rename(tmp_path / "X.NPY")
    write_hdf5(tmp_path / "X.HDF5", **hdf5_parts)
    for name in ("X.FVECS", "X.NPY"):
        np.testing.assert_array_equal(open_vectors(tmp_path / name), vectors(4, 3))
    np.testing.assert_array_equal(open_vectors(f"{tmp_path}/X.HDF5:train")[:], hdf5_parts["train"])
    assert load_dataset(tmp_path / "X.HDF5").d == 4


@pytest.mark.parametrize(
    ("suffix", "value"),
    [
        ("ivecs", 1 << 31),
        ("ivecs", -(1 << 31) - 1),
        ("bvecs", 256),
        ("bvecs", -1),
        ("bvecs", -1.5),
        ("bvecs", np.nan),
        ("ivecs", 3e9),
        ("fvecs", (1 << 24) + 1),
        ("fvecs", 1e39),
    ],
)
def test_numbers_that_a_format_cannot_hold_are_not_written(tmp_path, suffix, value):
    x = np.zeros((4, 2), type(value))
    x[2, 1] = value
    with pytest.raises(ValueError, match=rf"x\.{suffix}: got .* in row 2, expected what"):
        write_vecs(tmp_path / f"x.{suffix}", x)
    assert not list(tmp_path.iterdir())


def test_another_byte_order_names_the_file(tmp_path):
    rows = np.zeros(10, np.dtype([("d", ">i4"), ("v", ">f4", (32,))]))
    rows["d"] = 32
    for name in ("x.fvecs", "x.ivecs", "x.bvecs"):
        rows.tofile(tmp_path / name)
        with pytest.raises(ValueError, match=rf"{name}: got dimension 536870912 at its start, of 1320 bytes"):
            read_vectors(tmp_path / name)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|O', 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': '<c8', 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': ((((((, }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "(" * 5_000,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 40), }",
        "\0" * 80,
    ],
)
def test_npy_headers_that_do_not_hold_are_refused(tmp_path, header):
    text = header.encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(48)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npy: truncated or not an \.npy file of numbers"):
        read_vectors(tmp_path / "x.npy")


@pytest.mark.parametrize(
    "array", [np.asfortranarray(vectors(5, 3)), vectors(5, 3, ">f8"), vectors(0, 3), vectors(5, 3) > 9]
)
def test_npy_of_every_layout(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    read = read_vectors(tmp_path / "x.npy")
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("distance", "metric"),
    [
        (np.bytes_("angular"), "ip"),
        ("Cosine", "ip"),
        ("dot", "ip"),
        ("ip", "ip"),
        (np.array(["l2"], object), "l2"),
    ],
)
def test_names_of_distances(tmp_path, hdf5_parts, distance, metric):
    write_hdf5(tmp_path / "x.hdf5", distance, **hdf5_parts)
    data = load_dataset(tmp_path / "x.hdf5")
    assert METRIC_NAMES[data.metric] == metric
    normalised = np.allclose(np.linalg.norm(data.base, axis=1), 1)
    assert normalised == (distance in (np.bytes_("angular"), "Cosine"))


def write_foreign_hdf5(path, kind):
    """An array "x" that reaches beyond its file, or claims more than it can hold."""
    np.arange(40, dtype="<f4").tofile(path.with_name("secret"))
    with h5py.File(path.with_name("other.hdf5"), "w") as other:
        other["x"] = np.ones((10, 4), np.float32)
    with h5py.File(path, "w") as file:
        if kind == "external storage":
            file.create_dataset("x", (10, 4), "<f4", external=[(str(path.with_name("secret")), 0, 160)])
        elif kind == "external link":
            file["x"] = h5py.ExternalLink(path.with_name("other.hdf5"), "x")
        elif kind == "soft link":
            file["y"] = h5py.ExternalLink(path.with_name("other.hdf5"), "x")
            file["x"] = h5py.SoftLink("/y")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((10, 4), "<f4")
            layout[:] = h5py.VirtualSource(path.with_name("other.hdf5"), "x", (10, 4))
            file.create_virtual_dataset("x", layout)
        elif kind == "objects":
            file.create_dataset("x", (10, 4), h5py.string_dtype())
        elif kind == "fields":
            file.create_dataset("x", (10, 4), np.dtype([("a", "<f4")]))
        elif kind == "plug-in":
            file.create_dataset("x", (10, 4), "<f4", chunks=(10, 4))
            file["x"].id.get_create_plist()
            packing = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            packing.set_chunk((10, 4))
            packing.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
            space = h5py.h5s.create_simple((10, 4))
            del file["x"]
            h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, packing)
        elif kind == "size":
            file.create_dataset("x", (1 << 40, 128), "<f4", chunks=(1, 128))
        elif kind == "chunk":
            file.create_dataset("x", (10, 4), "<f4", chunks=(1 << 20, 1 << 10), maxshape=(None, None))


@pytest.mark.parametrize(
    "kind",
    [
        "external storage",
        "external link",
        "soft link",
        "virtual",
        "objects",
        "fields",
        "plug-in",
        "size",
        "chunk",
    ],
)
def test_hdf5_arrays_that_reach_beyond_their_file_are_refused(tmp_path, kind):
    path = tmp_path / "x.hdf5"
    write_foreign_hdf5(path, kind)
    with pytest.raises(ValueError, match=r"x\.hdf5:x: .*, expected an array \(n, d\) of numbers in the file"):
        open_vectors(f"{path}:x")
    with pytest.raises(ValueError, match=r"x\.hdf5"):
        open_vectors(path)


def test_rows_that_are_not_finite_are_named_as_in_the_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(1_500, 6))
    x[1234, 2] = np.nan
    x[1400, 3] = 1e300  # infinite in float32
    np.save(tmp_path / "x.npy", x)
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["x"] = x
    opened = open_vectors(tmp_path / "x.npy")
    message = r"x\.npy: got 1 values that are NaN or infinite, the first at \(1234, 2\)"
    for read in (
        lambda: finite_floats(opened, slice(1_000, 1_300)),
        lambda: finite_floats(RowRange(opened, 1_200, 1_300), slice(20, 50)),
        lambda: sample_rows(opened[:1_300], 1_299, seed=1),
        lambda: load_dataset(tmp_path / "x.npy"),
    ):
        with pytest.raises(ValueError, match=message):
            read()
    with pytest.raises(
        ValueError, match=r"x\.hdf5:x: got 1 values that are NaN or infinite, the first at \(1400, 3\)"
    ):
        finite_floats(open_vectors(tmp_path / "x.hdf5"), slice(1_300, None))
