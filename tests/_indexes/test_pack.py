"""A packed index finds what it finds unpacked, to the bit, whatever happens to it."""

import copy
import pickle
import sys
import threading
import time

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import drqfaiss
from drqfaiss import IndexDRQ, SearchParametersDRQ, adopt, clone_index, read_index, write_index
from tests.conftest import AVAILABLE_LEVELS
from tests.indexes import D, M, codes_of, make_index, make_vectors, stock_copy

BLOCK = 5000  # more vectors than a block takes


def assert_same(packed, unpacked, x, k=7, **parameters):
    for levels in (1, (packed.rq.M + 1) // 2, packed.rq.M):
        params = SearchParametersDRQ(levels, **parameters)
        found, expected = (index.search(x, k, params=params) for index in (packed, unpacked))
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[0], expected[0])


@settings(max_examples=40, deadline=None)
@given(
    n=st.sampled_from([0, 1, 127, 700, BLOCK, 20_000]),
    levels=st.integers(1, 9),
    nbits=st.sampled_from([3, 4, 7, 8, 8, 8]),
    queries=st.sampled_from([1, 3, 17]),
    metric=st.sampled_from(["l2", "ip"]),
    k=st.sampled_from([1, 10, 60]),
    packed_at=st.sampled_from(AVAILABLE_LEVELS),
    searched_at=st.sampled_from(AVAILABLE_LEVELS),
)
def test_same_results(n, levels, nbits, queries, metric, k, packed_at, searched_at):
    drqfaiss.set_simd_level(packed_at)
    index = make_index(0, metric, levels=levels, nbits=nbits)
    rng = np.random.default_rng(n)
    index.add_sa_codes(rng.integers(0, 256, (n, index.code_size), np.uint8))
    unpacked = copy.copy(index)
    index.pack()
    drqfaiss.set_simd_level(searched_at)
    x = make_vectors(queries, seed=1)
    assert_same(index, unpacked, x, k)
    assert_same(index, unpacked, x, k, sel=faiss.IDSelectorRange(n // 3, n))
    radius = 12.0 if metric == "l2" else 9.0
    for found, expected in zip(index.range_search(x, radius), unpacked.range_search(x, radius), strict=True):
        np.testing.assert_array_equal(found, expected)
    added = rng.integers(0, 256, (200, index.code_size), np.uint8)
    for each in (index, unpacked):
        each.add_sa_codes(added)
    assert_same(index, unpacked, x, k)


@settings(max_examples=40, deadline=None)
@given(
    n=st.sampled_from([1, 700, BLOCK, 20_000]),
    levels=st.integers(1, 9),
    nbits=st.sampled_from([3, 4, 7, 8, 8, 9]),
    queries=st.sampled_from([1, 17]),
    metric=st.sampled_from(["l2", "ip"]),
    packed_at=st.sampled_from(AVAILABLE_LEVELS),
    searched_at=st.sampled_from(AVAILABLE_LEVELS),
    data=st.data(),
)
def test_some_levels(n, levels, nbits, queries, metric, packed_at, searched_at, data):
    drqfaiss.set_simd_level(packed_at)
    index = make_index(0, metric, levels=levels, nbits=nbits)
    rng = np.random.default_rng(n)
    index.add_sa_codes(rng.integers(0, 256, (n, index.code_size), np.uint8))
    unpacked = copy.copy(index)
    for packed in data.draw(st.lists(st.integers(1, levels), min_size=1, max_size=3)):
        index.pack(packed)
        assert (index.packed_levels, index.packed) == (packed, True)
        drqfaiss.set_simd_level(searched_at)
        x = make_vectors(queries, seed=1)
        assert_same(index, unpacked, x)  # with fewer levels, as many and more than are packed
        assert_same(index, unpacked, x, refine_factor=3)
        for each in (index, unpacked):
            each.add_sa_codes(each.sa_encode(x))
        assert_same(index, unpacked, x)


@pytest.mark.parametrize("order", ["farthest first", "nearest first"])
def test_storage_order(order):
    index = make_index(30_000, nbits=8, levels=2)
    x = np.repeat(make_vectors(1, seed=1), 20, axis=0)
    nearest = index.search(x[:1], index.ntotal)[1][0]
    index.permute_entries(nearest[::-1].copy() if order == "farthest first" else nearest)
    unpacked = copy.copy(index)
    index.pack()
    assert_same(index, unpacked, x)
    assert_same(index, unpacked, x[:1])


def test_bytes():
    index = make_index(3 * BLOCK, nbits=8)
    assert not index.packed
    taken = index.pack()
    assert index.packed
    assert 3 * BLOCK * M <= taken <= 3 * BLOCK * M + 3 * BLOCK * M // 4 + 2**17
    assert index.pack() == taken
    index.unpack()
    assert not index.packed


def test_fewer_levels_take_fewer_bytes():
    index = make_index(20_000, nbits=8, levels=12)
    taken = {levels: index.pack(levels) for levels in (4, 8, 12)}  # Kernels may read four at a time.
    for levels, found in taken.items():
        assert 20_000 * levels <= found <= 20_000 * levels + 2**16
    assert index.pack(8) == taken[8]


def test_what_searches_scan_is_packed_by_default():
    index = make_index(300)
    index.pack()
    assert index.packed_levels == M
    index.levels = 2
    index.pack()
    assert index.packed_levels == M  # which parameters may ask for
    index.refine_factor = 20
    index.pack()
    assert index.packed_levels == 2
    index.levels = 0
    index.pack()
    assert index.packed_levels == M


@pytest.mark.parametrize("levels", [0, M + 1, 1.5, "2"])
def test_levels_that_there_are_not_are_not_packed(levels):
    index = make_index(300)
    index.pack(3)
    with pytest.raises((ValueError, TypeError), match="levels: got"):
        index.pack(levels)
    assert index.packed_levels == 3


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.add(make_vectors(1, seed=2)),
        lambda index: index.add(make_vectors(BLOCK, seed=2)),
        lambda index: index.add_sa_codes(index.sa_encode(make_vectors(3, seed=3))),
        lambda index: index.remove_ids(np.arange(0, 200, 3)),
        lambda index: index.merge_from(make_index(BLOCK, seed=4)),
        lambda index: index.reset(),
        lambda index: (index.reset(), index.add(make_vectors(BLOCK, seed=5))),
        lambda index: stock_copy(make_index(10)).merge_from(index),
        lambda index: index.permute_entries(np.arange(index.ntotal)[::-1].copy()),
        lambda index: faiss.copy_array_to_vector(codes_of(make_index(300, seed=6)), index.codes),
        lambda index: (index.reset(), index.train(make_vectors(300, seed=7)), index.add(make_vectors(300))),
        lambda index: setattr(index, "metric_type", faiss.METRIC_INNER_PRODUCT),
    ],
)
def test_follows_changes(change, levels):
    index, x = make_index(300), make_vectors(3, seed=1)
    index.pack(levels)
    assert_same(index, copy.copy(index), x)
    change(index)
    assert index.packed
    assert_same(index, copy.copy(index), x)
    change(index)  # without a search between
    change(index)
    assert_same(index, copy.copy(index), x)


def test_copies_are_not_packed(tmp_path):
    index = make_index()
    index.pack()
    write_index(index, tmp_path / "x.faiss")
    for other in (
        copy.copy(index),
        copy.deepcopy(index),
        pickle.loads(pickle.dumps(index)),
        clone_index(index),
        read_index(tmp_path / "x.faiss"),
    ):
        assert not other.packed
    assert index.packed


def test_adopted_and_mapped_indexes(tmp_path):
    write_index(make_index(), tmp_path / "x.faiss")
    x = make_vectors(3, seed=1)
    for index in (adopt(stock_copy(make_index())), read_index(tmp_path / "x.faiss", faiss.IO_FLAG_MMAP_IFC)):
        index.pack()
        assert_same(index, make_index(), x)


def test_refusals():
    with pytest.raises(ValueError, match="levels have up to 12 bits, expected at most 8, or all"):
        make_index(600, nbits=12).pack()
    with pytest.raises(RuntimeError, match="not trained"):
        IndexDRQ(D, M).pack()


@pytest.fixture
def no_forced_switches():
    """Let other threads run only where the running one gives up the interpreter's lock."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    yield
    sys.setswitchinterval(interval)


def test_other_threads_run_while_packing(no_forced_switches):
    index = make_index(0, nbits=8)
    index.add_sa_codes(np.random.default_rng(0).integers(0, 256, (300_000, index.code_size), np.uint8))
    ticks, done = [0.0], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0)

    ticker = threading.Thread(target=tick)
    ticker.start()
    ran = False
    for _ in range(20):
        begin = time.perf_counter()
        index.pack()
        ran = ran or begin < ticks[-1]
        index.unpack()
    done.set()
    ticker.join()
    assert ran


def test_packing_during_searches():
    index, x = make_index(2 * BLOCK, nbits=8), make_vectors(20, seed=1)
    expected = index.search(x, 5)
    wrong, done = [], threading.Event()

    def search():
        while not done.is_set():
            if not np.array_equal(index.search(x, 5)[1], expected[1]):
                wrong.append(1)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        index.pack()
        index.unpack()
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
