"""Two files for one index: searches find what they find with all levels in memory, to the bit."""

import copy
import os
import pickle
import shutil

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import drqfaiss
from drqfaiss import (
    DamagedIndexError,
    IndexDRQ,
    SearchParametersDRQ,
    clone_index,
    join_tail,
    read_index,
    split_tail,
    write_index,
)
from drqfaiss._indexes.base import bit_widths
from drqfaiss._plugin import available
from tests.indexes import (
    METRICS,
    codes_of,
    make_codebooks,
    make_index,
    make_vectors,
    reconstructions,
    stock_copy,
)

X = make_vectors(6, seed=1)
HOT, M = 2, 5
DEPTHS = [(0, 0, 20), (1, 0, 4), (2, 4, 3), (2, 2, 5), (1, 5, 1000), (1, 0, None)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.faiss"


def split(index, path, levels=HOT):
    split_tail(index, levels, path)
    return read_index(path)


def assert_same(found, expected):
    for each, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(each, other)


def assert_searches_same(parts, whole, x=X, hot=HOT, depths=DEPTHS, k=7, **parameters):
    """The two files find what the whole index finds. Without a number, levels are all those in memory."""
    for levels, refine_levels, factor in depths:
        one, other = (
            SearchParametersDRQ(scanned, refine_levels=refine_levels, refine_factor=factor, **parameters)
            for scanned in (levels, levels or hot)
        )
        parts.refine_factor = None
        assert_same(parts.search(x, k, params=one), whole.search(x, k, params=other))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("nbits", [4, 8])
def test_finds_the_same(engine, path, metric, nbits):
    whole = make_index(600, metric, nbits=nbits)
    parts = split(whole, path)
    assert (type(parts), parts.rq.M, parts.all_levels, parts.tail_levels) == (IndexDRQ, HOT, M, M - HOT)
    assert parts.tail_path == f"{path}.tail"
    assert_searches_same(parts, whole)
    assert_searches_same(parts, whole, x=X[:1])
    assert_searches_same(parts, whole, sel=faiss.IDSelectorRange(30, 200))
    assert_searches_same(parts, whole, k=700)


def make_whole(n, levels, nbits, metric, kind):
    """An index with codebooks that share all, all but the first, or nothing."""
    codebooks = make_codebooks(levels=levels, nbits=nbits)
    rng = np.random.default_rng(levels)
    own = {"shared": 0, "own-first": 1, "independent": levels}[kind]
    codebooks[:own] += rng.standard_normal(codebooks[:own].shape).astype(np.float32)
    index = IndexDRQ.from_codebooks(codebooks, METRICS[metric])
    index.add_sa_codes(rng.integers(0, 256, (n, index.code_size), np.uint8))
    return index


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.sampled_from([0, 1, 130, 2000]),
    levels=st.integers(2, 9),
    nbits=st.sampled_from([1, 3, 4, 7, 8, 8, 9, 12]),
    kind=st.sampled_from(["shared", "own-first", "independent"]),
    metric=st.sampled_from(["l2", "ip"]),
    threads=st.sampled_from([1, 2, 5]),
    data=st.data(),
)
def test_any_shape(tmp_path, n, levels, nbits, kind, metric, threads, data):
    hot = data.draw(st.integers(1, levels - 1))
    scanned = data.draw(st.integers(1, hot))
    depth = scanned, data.draw(st.integers(scanned, levels)), data.draw(st.integers(1, 30))
    whole = make_whole(n, levels, nbits, metric, kind)
    parts = split(whole, tmp_path / "x", hot)
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(threads)
        assert_searches_same(parts, whole, make_vectors(20, seed=3), hot, [depth])
    finally:
        faiss.omp_set_num_threads(before)
    np.testing.assert_array_equal(reconstructions(join_tail(parts)), reconstructions(whole))


@pytest.mark.parametrize("nbits", [(4, 4, 4, 8, 8), (8, 3, 5, 6), (3, 10, 2)])
def test_levels_of_several_widths(path, nbits):
    rng = np.random.default_rng(0)
    stock = faiss.IndexResidualQuantizer(
        16, bit_widths(np.array(nbits, np.uint64)), faiss.METRIC_L2, faiss.AdditiveQuantizer.ST_decompress
    )
    codebooks = rng.standard_normal((sum(1 << bits for bits in nbits), 16)).astype(np.float32)
    faiss.copy_array_to_vector(codebooks.ravel(), stock.rq.codebooks)
    stock.rq.is_trained = stock.is_trained = True
    whole = drqfaiss.adopt(stock)
    whole.add(make_vectors(400))
    for hot in range(1, len(nbits)):
        parts = split(whole, path, hot)
        assert_searches_same(parts, whole, hot=hot, depths=[(0, 0, 5), (1, 0, 9), (hot, hot + 1, 3)])
        assert_same([join_tail(parts).reconstruct_n(0, 400)], [whole.reconstruct_n(0, 400)])


def test_plain_faiss_reads_and_searches_the_levels_in_memory(path):
    whole = make_index(300)
    split_tail(whole, HOT, path)
    stock = faiss.read_index(str(path))
    assert (type(stock), stock.rq.M, stock.ntotal) == (faiss.IndexResidualQuantizer, HOT, 300)
    ids = stock.search(X, 5)[1]
    np.testing.assert_array_equal(ids, whole.search(X, 5, params=SearchParametersDRQ(HOT))[1])


def test_ranks_by_all_levels_by_default(engine, path):
    whole = make_index(600)
    parts = split(whole, path)
    assert (parts.levels, parts.refine_levels, parts.refine_factor) == (0, 0, 20)
    assert_same(parts.search(X, 5), whole.search(X, 5, params=SearchParametersDRQ(HOT, refine_factor=20)))
    parts.refine_levels, parts.refine_factor = 4, 3
    assert_same(
        parts.search(X, 5),
        whole.search(X, 5, params=SearchParametersDRQ(HOT, refine_levels=4, refine_factor=3)),
    )


def test_range_search_and_packing(engine, path):
    whole = make_index(20_000, nbits=8)
    parts = split(whole, path)
    whole.levels = HOT
    assert_same(parts.range_search(X, 20.0), whole.range_search(X, 20.0))
    assert parts.pack() < whole.pack()
    assert_searches_same(parts, whole)


def test_vectors_come_from_all_levels(engine, path):
    whole = make_index(300, nbits=8)
    parts = split(whole, path)
    assert_same([parts.reconstruct(7)], [whole.reconstruct(7)])
    assert_same([parts.reconstruct_n(3, 50)], [whole.reconstruct_n(3, 50)])
    assert_same([parts.reconstruct_batch([4, 290])], [whole.reconstruct_batch([4, 290])])
    whole.levels, whole.refine_factor = HOT, 20
    assert_same(parts.search_and_reconstruct(X, 5), whole.search_and_reconstruct(X, 5))
    np.testing.assert_array_equal(parts.sa_encode(X), whole.sa_encode(X)[:, :HOT])


def test_adding_extends_both(engine, path):
    whole, added = make_index(300), make_vectors(90, seed=8)
    parts = split(whole, path)
    before = [path.read_bytes(), (path.parent / "x.faiss.tail").read_bytes()]
    for index in (whole, parts):
        index.add(added[:1])
        index.add(added[1:])
    assert_searches_same(parts, whole)
    assert_same([parts.reconstruct_n(0, 390)], [whole.reconstruct_n(0, 390)])
    assert before == [path.read_bytes(), (path.parent / "x.faiss.tail").read_bytes()]
    write_index(parts, path)
    again = read_index(path)
    assert again.ntotal == 390
    assert_searches_same(again, whole)
    np.testing.assert_array_equal(codes_of(join_tail(again)), codes_of(whole))


def test_a_vector_that_cannot_be_added_extends_neither(engine, path):
    whole = make_index(300)
    parts = split(whole, path)
    bad = make_vectors(3, seed=4)
    bad[2, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        parts.add(bad)
    assert parts.ntotal == 300
    for index in (whole, parts):
        index.add(make_vectors(5, seed=5))
    assert_searches_same(parts, whole)


COPIES = {
    "clone": clone_index,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda index: pickle.loads(pickle.dumps(index)),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_apart(engine, path, name):
    whole = make_index(300)
    parts = split(whole, path)
    for index in (whole, parts):
        index.add(make_vectors(20, seed=5))
    twin = COPIES[name](parts)
    assert (type(twin), twin.tail_path, twin.refine_factor) == (IndexDRQ, parts.tail_path, 20)
    assert_searches_same(twin, whole)
    twin.add(make_vectors(9, seed=6))
    assert (parts.ntotal, twin.ntotal) == (320, 329)
    assert_searches_same(parts, whole)
    whole.add(make_vectors(9, seed=6))
    assert_searches_same(twin, whole)


CHANGES = {
    "train": lambda index: index.train(make_vectors(300)),
    "reset": lambda index: index.reset(),
    "remove_ids": lambda index: index.remove_ids([3]),
    "merge_from": lambda index: index.merge_from(stock_copy(index)),
    "permute_entries": lambda index: index.permute_entries(np.arange(index.ntotal)),
    "add_sa_codes": lambda index: index.add_sa_codes(index.sa_encode(X)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_changes_are_refused(engine, path, name):
    whole = make_index(300)
    parts = split(whole, path)
    with pytest.raises(RuntimeError, match=rf"{name}: .*x\.faiss\.tail, expected all .*join_tail"):
        CHANGES[name](parts)
    assert parts.ntotal == 300
    assert_searches_same(parts, whole)
    joined = join_tail(parts)
    assert joined.tail_levels == 0
    assert_same(joined.search(X, 5), whole.search(X, 5))


def test_changes_through_other_indexes_are_refused(path):
    mapped = faiss.IndexIDMap2(make_index(0))
    mapped.add_with_ids(make_vectors(50), np.arange(50) * 3)
    split_tail(mapped, HOT, path)
    parts = read_index(path)
    with pytest.raises(RuntimeError, match="expected all in memory"):
        parts.remove_ids(np.array([3]))
    with pytest.raises(RuntimeError, match="expected all in memory"):
        parts.reset()
    with pytest.raises(RuntimeError, match="expected all in memory"):
        make_index(9).merge_from(faiss.downcast_index(parts.index))
    assert parts.ntotal == 50


@pytest.mark.parametrize("outer", ["IDMap", "PreTransform"])
def test_indexes_inside_others(path, outer):
    if outer == "IDMap":
        whole = faiss.IndexIDMap2(make_index(0))
        whole.add_with_ids(make_vectors(400), np.arange(400) * 3)
    else:
        rotation = faiss.RandomRotationMatrix(16, 16)
        rotation.init(1)
        whole = faiss.IndexPreTransform(rotation, make_index(0))
        whole.add(make_vectors(400))
    params = SearchParametersDRQ(HOT, refine_factor=3)
    parts = split(whole, path)
    assert_same(parts.search(X, 5, params=params), whole.search(X, 5, params=params))
    write_index(parts, path.with_name("y"))
    again = read_index(path.with_name("y"))
    assert_same(again.search(X, 5, params=params), whole.search(X, 5, params=params))


def test_inside_others_only_the_plug_in_ranks(path, monkeypatch):
    mapped = faiss.IndexIDMap2(make_index(0))
    split_tail(mapped, HOT, path)
    monkeypatch.setattr(available, "has", lambda capability: False)
    monkeypatch.setattr(available, "_warn", lambda reason: None)
    with pytest.raises(RuntimeError, match="tail=False"):
        read_index(path)
    assert read_index(path, tail=False).ntotal == 0


def test_adopted_indexes(path):
    stock = stock_copy(make_index(200))
    parts = split(stock, path)
    assert_searches_same(parts, drqfaiss.adopt(stock))


def test_a_side_file_of_another_name(path, tmp_path):
    whole = make_index(300)
    split_tail(whole, HOT, path, tail_path=tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"x\.faiss\.tail"):
        read_index(path)
    assert_searches_same(read_index(path, tail=tmp_path / "elsewhere"), whole)
    hot = read_index(path, tail=False)
    assert (type(hot), hot.rq.M, hot.tail_path, hot.refine_factor) == (IndexDRQ, HOT, None, None)
    with open(path, "rb") as file, pytest.raises(ValueError, match="tail: got None, expected the name"):
        read_index(file)
    with open(path, "rb") as file:
        assert_searches_same(read_index(file, tail=tmp_path / "elsewhere"), whole)


def test_installed_functions_map_side_files(path, tmp_path):
    whole = make_index(300)
    split_tail(whole, HOT, path)
    with drqfaiss.installed():
        parts = faiss.read_index(str(path))
        with open(path, "rb") as file:
            assert faiss.read_index(faiss.PyCallbackIOReader(file.read)).tail_path is None
        os.remove(f"{path}.tail")
        with pytest.raises(FileNotFoundError, match=r"x\.faiss\.tail"):
            faiss.read_index(str(path))
    assert_same(parts.search(X, 5), whole.search(X, 5, params=SearchParametersDRQ(HOT, refine_factor=20)))


def test_an_index_that_is_mapped_itself(path):
    if not hasattr(faiss, "IO_FLAG_MMAP_IFC"):
        return
    whole = make_index(300)
    split_tail(whole, HOT, path)
    parts = read_index(path, faiss.IO_FLAG_MMAP_IFC)
    assert_searches_same(parts, whole)
    with pytest.raises(RuntimeError, match="mapped file"):
        parts.add(X)
    assert_searches_same(parts, whole)


def test_adopting_again_keeps_the_side_file(engine, path):
    whole = make_index(300)
    parts = split(whole, path)
    drqfaiss.adopt(parts)
    assert_searches_same(parts, whole)


def test_an_index_with_all_levels_has_no_side_file(path, tmp_path):
    write_index(make_index(20), path)
    with pytest.raises(ValueError, match=r"expected None: .* has all of its levels"):
        read_index(path, tail=tmp_path / "y")
    with pytest.raises(ValueError, match="expected one with a side file"):
        join_tail(make_index(20))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: make_index(301), "got vectors 301, expected 300"),
        (lambda: make_index(300, seed=9), "got digest of the index"),
        (lambda: make_index(300, "ip"), "got digest of the index"),
        (lambda: make_index(300, d=7), "got d 7, expected 16"),
    ],
)
def test_side_files_of_others_are_refused(engine, path, tmp_path, other, message):
    split_tail(make_index(300), HOT, path)
    split_tail(other(), HOT, tmp_path / "other")
    shutil.copy(tmp_path / "other.tail", f"{path}.tail")
    with pytest.raises(DamagedIndexError, match=rf"x\.faiss\.tail: belongs to another index: {message}"):
        read_index(path)


def test_truncated_side_files_are_refused(path):
    split_tail(make_index(300), HOT, path)
    os.truncate(f"{path}.tail", os.path.getsize(f"{path}.tail") - 1)
    with pytest.raises(DamagedIndexError, match=r"x\.faiss\.tail: .* bytes, expected"):
        read_index(path)


def test_what_a_killed_writer_left_is_used_and_finished(path, tmp_path):
    old, new = make_index(300), make_index(310)
    split_tail(old, HOT, path)
    split_tail(new, HOT, tmp_path / "new")
    shutil.copy(tmp_path / "new.tail", f"{path}.tail.new")
    assert_searches_same(read_index(path), old)  # killed before the index took its place
    shutil.copy(tmp_path / "new", path)
    assert_searches_same(read_index(path), new)  # and after that
    split_tail(make_index(5), HOT, path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "new",
        "new.tail",
        "x.faiss",
        "x.faiss.tail",
    ]
    assert read_index(path).ntotal == 5


def test_a_pair_that_changes_while_it_is_read(path, tmp_path, monkeypatch):
    whole = make_index(310)
    split_tail(make_index(300), HOT, path)
    from drqfaiss._faiss import io

    stock = io.open_tail_of

    def slowly(head, name):
        if head.ntotal == 300:
            split_tail(whole, HOT, path)
        stock(head, name)

    monkeypatch.setattr(io, "open_tail_of", slowly)
    assert_searches_same(read_index(path), whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((make_index(9), 0), "levels: got 0, expected"),
        ((make_index(9), M), "levels: got 5, expected"),
        ((make_index(9), 2.5), "levels: "),
        ((IndexDRQ(16, 4), 2), "index: got an untrained index"),
        ((faiss.IndexFlatL2(16), 2), "index: got IndexFlatL2 with 0 residual quantizer"),
        (("x", 2), "index: "),
    ],
)
def test_what_cannot_be_split_is_refused(path, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        split_tail(*arguments, path)
    assert not path.exists()


def test_a_pair_is_not_split_again(engine, path):
    parts = split(make_index(30), path)
    with pytest.raises(ValueError, match="in a side file already"):
        split_tail(parts, 1, path)


def test_a_pair_needs_a_name(path, tmp_path):
    parts = split(make_index(30), path)
    with open(tmp_path / "y", "wb") as file, pytest.raises(TypeError, match="expected the name of a file"):
        write_index(parts, file)


def test_levels_that_are_not_in_memory_are_not_scanned(engine, path):
    parts = split(make_index(30), path)
    with pytest.raises(ValueError, match=r"levels: got 3, expected 0 \(all\) to 2"):
        parts.search(X, 3, params=SearchParametersDRQ(3))
    with pytest.raises(ValueError, match="refine_levels: got 6, expected"):
        parts.search(X, 3, params=SearchParametersDRQ(1, refine_levels=6))
    with pytest.raises(ValueError, match="levels: got 3"):
        parts.levels = 3
    parts.refine_levels = M
