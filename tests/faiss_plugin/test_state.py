"""What the plug-in keeps about an index stays right through everything that FAISS does with the index."""

import copy
import gc
import os
import pickle
import subprocess
import sys

import faiss
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from drqfaiss import IndexDRQ, SearchParametersDRQ, adopt, clone_index, read_index, write_index
from drqfaiss._core import plugin
from drqfaiss._plugin.layout import address
from tests.indexes import (
    D,
    M,
    assert_searches_right,
    codes_of,
    make_codebooks,
    make_index,
    make_vectors,
    state_count,
    stock_copy,
)

X = make_vectors(4, seed=1)


def cached(index):
    return {levels: rows for levels, (rows, _) in plugin.cached_norms(address(index)).items()}


def held(index):
    """Bytes of the norms of all levels."""
    return plugin.cached_norms(address(index))[M][1]


def assert_right_at_every_length(index):
    k = max(1, min(7, index.ntotal))
    for levels in range(1, M + 1):
        if index.ntotal:
            assert_searches_right(index, X, k=k, levels=levels, params=SearchParametersDRQ(levels))
    assert set(cached(index).values()) <= {index.ntotal}


def test_norms_are_built_at_the_first_search_of_a_length():
    index = make_index()
    assert cached(index) == {}
    index.search(X, 1, params=SearchParametersDRQ(2))
    assert cached(index) == {2: 300}
    index.search(X, 1)
    assert cached(index) == {2: 300, M: 300}


def test_inner_product_needs_no_norms():
    index = make_index(metric="ip")
    index.search(X, 1)
    assert cached(index) == {}


def test_append_extends_the_norms():
    index = make_index()
    index.search(X, 1)
    index.search(X, 1, params=SearchParametersDRQ(2))
    index.add(make_vectors(50, seed=2))
    index.add_sa_codes(index.sa_encode(make_vectors(3, seed=3)))
    assert cached(index) == {2: 300, M: 300}
    assert_searches_right(index, X)
    assert cached(index) == {2: 300, M: 353}
    assert_right_at_every_length(index)


def test_appending_one_vector_at_a_time():
    index = make_index(0)
    for i in range(40):
        index.add(make_vectors(1, seed=i))
        assert_searches_right(index, X, k=1)


@pytest.mark.parametrize(
    "remove",
    [
        lambda index: index.remove_ids(np.array([0, 5, 299])),
        lambda index: index.remove_ids(faiss.IDSelectorRange(10, 100)),
        lambda index: index.remove_ids(np.array([], np.int64)),
        lambda index: index.reset(),
        lambda index: index.permute_entries(np.arange(300)[::-1].copy()),
    ],
)
def test_removal_and_reordering(remove):
    index = make_index()
    assert_right_at_every_length(index)
    remove(index)
    assert_right_at_every_length(index)
    index.add(make_vectors(20, seed=9))
    assert_right_at_every_length(index)


def test_reordering_drops_the_norms():
    index = make_index()
    assert_right_at_every_length(index)
    order = np.arange(300)
    order[[7, 8]] = 8, 7
    expected = index.reconstruct(8)
    index.permute_entries(order)
    assert cached(index) == {}
    np.testing.assert_array_equal(index.reconstruct(7), expected)
    assert_right_at_every_length(index)


def test_removal_keeps_the_norms_of_what_stays():
    index = make_index()
    assert_right_at_every_length(index)
    lengths = cached(index).keys()
    index.remove_ids(np.array([0, 5, 299]))
    assert cached(index) == dict.fromkeys(lengths, 297)
    assert_right_at_every_length(index)


@pytest.mark.parametrize("share", [0.003, 0.1, 0.5, 0.9])
def test_removal_of_rows_anywhere(share):
    index = make_index(1003)
    assert_right_at_every_length(index)
    index.add(make_vectors(9, seed=2))  # whose norms no search has computed yet
    gone = np.flatnonzero(np.random.default_rng(0).random(index.ntotal) < share)
    assert index.remove_ids(gone) == gone.size
    assert set(cached(index).values()) == {1003 - (gone < 1003).sum()}
    assert_right_at_every_length(index)


def test_removal_asks_once_and_before_it_changes_anything():
    index = make_index()
    expected = index.search(X, 5)
    asked = []

    def first_hundred(i):
        asked.append(i)
        return i < 100

    def failing(i):
        if i == 200:
            raise ValueError("cannot tell")
        return i < 100

    with pytest.raises(ValueError, match="cannot tell"):
        index.remove_ids(faiss.PyCallbackIDSelector(failing))
    np.testing.assert_array_equal(index.search(X, 5)[1], expected[1])
    assert index.remove_ids(faiss.PyCallbackIDSelector(first_hundred)) == 100
    assert asked == list(range(300))
    assert_right_at_every_length(index)


def test_norms_hold_little_more_than_they_need():
    index = make_index(4000)
    index.search(X, 1)
    assert held(index) == 4 * 4000
    for seed in range(3):
        index.add(make_vectors(1, seed=seed))
        index.search(X, 1)
        assert held(index) == 4 * 4500
    index.remove_ids(faiss.IDSelectorRange(0, 3000))
    assert held(index) <= 4 * 1003 * 9 / 8


@pytest.mark.parametrize("target_is_ours", [True, False])
@pytest.mark.parametrize("source_is_ours", [True, False])
def test_merge_and_refill(target_is_ours, source_is_ours):
    target, source = make_index(100), make_index(200, seed=4)
    target = target if target_is_ours else stock_copy(target)
    source = source if source_is_ours else stock_copy(source)
    ours = [index for index in (target, source) if isinstance(index, IndexDRQ)]
    for index in ours:
        assert_right_at_every_length(index)
    target.merge_from(source)
    assert (target.ntotal, source.ntotal) == (300, 0)
    for index in ours:
        assert_right_at_every_length(index)
    source.add(make_vectors(200, seed=5))  # as many as before: the number alone does not tell
    for index in ours:
        assert_right_at_every_length(index)


def test_refill_of_a_merged_index_without_a_search_between():
    source = make_index(200)
    assert_right_at_every_length(source)
    stock_copy(make_index(100)).merge_from(source)
    source.add(make_vectors(200, seed=5))
    assert_right_at_every_length(source)


def test_codes_written_from_python_are_noticed():
    index = make_index()
    assert_right_at_every_length(index)
    other = codes_of(make_index(seed=8))
    faiss.copy_array_to_vector(other, index.codes)
    assert_right_at_every_length(index)
    faiss.memcpy(index.codes.data(), faiss.swig_ptr(other[::-1].copy()), other.size)
    assert_right_at_every_length(index)


def test_codebooks_written_from_python_are_noticed():
    index = make_index()
    assert_right_at_every_length(index)
    faiss.copy_array_to_vector(make_codebooks(seed=5).ravel(), index.rq.codebooks)
    assert_right_at_every_length(index)


def test_adopting_again_is_for_changes_too_small_to_be_noticed():
    index = make_index(5000)
    assert_right_at_every_length(index)
    codes = faiss.rev_swig_ptr(index.codes.data(), index.codes.size()).reshape(-1, index.code_size)
    codes[1:80] ^= 0x5A
    adopt(index)
    assert_right_at_every_length(index)


@pytest.mark.slow
def test_any_single_float_of_the_codebooks_is_noticed_by_a_large_search():
    """Enough work for all codebooks to be compared with what they were."""
    index = make_index(5000)
    many = np.tile(make_vectors(100, seed=3), (3, 1))
    floats = index.rq.codebooks.size()
    codebooks = faiss.rev_swig_ptr(index.rq.codebooks.data(), floats)
    for at in np.random.default_rng(0).integers(0, floats, 10):
        assert_searches_right(index, many)
        codebooks[at] += 3
        assert_searches_right(index, many)


def test_any_single_float_of_the_codebooks_is_noticed_by_small_searches_in_time():
    index = make_index(levels=8, nbits=8)
    values = faiss.rev_swig_ptr(index.rq.codebooks.data(), index.rq.codebooks.size())
    index.search(X, 1)
    values[len(values) // 3] += 3
    windows = values.nbytes // 4096
    for _ in range(windows + 1):
        index.search(X[:1], 1)
    assert_searches_right(index, X)


def test_any_single_row_of_codes_is_noticed_in_time():
    index = make_index(30_000)
    assert_searches_right(index, X)
    codes = faiss.rev_swig_ptr(index.codes.data(), index.codes.size()).reshape(-1, index.code_size)
    codes[12_345, 0] ^= 0x5A
    for _ in range(codes.nbytes // 4096 + 1):
        index.search(X[:1], 1)
    assert_searches_right(index, X)


def test_metric_may_change():
    index = make_index()
    for metric in (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
        index.metric_type = metric
        assert_searches_right(index, X)


def test_copies_have_their_own_state(tmp_path):
    index = make_index()
    assert_right_at_every_length(index)
    write_index(index, tmp_path / "x.faiss")
    copies = [
        copy.copy(index),
        copy.deepcopy(index),
        pickle.loads(pickle.dumps(index)),
        clone_index(index),
        read_index(tmp_path / "x.faiss"),
        adopt(faiss.clone_index(index)),
        adopt(stock_copy(index)),
    ]
    for other in copies:
        assert cached(other) == {}
        other.remove_ids(np.arange(100))
        assert_right_at_every_length(other)
    assert_right_at_every_length(index)


@pytest.mark.parametrize(
    "change",
    [
        lambda mapped: mapped.add(X),
        lambda mapped: mapped.add_sa_codes(mapped.sa_encode(X)),
        lambda mapped: mapped.remove_ids(np.arange(3)),
        lambda mapped: mapped.reset(),
        lambda mapped: mapped.merge_from(make_index()),
        lambda mapped: make_index().merge_from(mapped),
    ],
)
def test_mapped_index_cannot_change_and_stays_right(tmp_path, change):
    """Stock FAISS ends the process."""
    write_index(make_index(), tmp_path / "x.faiss")
    mapped = read_index(tmp_path / "x.faiss", faiss.IO_FLAG_MMAP_IFC)
    assert_right_at_every_length(mapped)
    with pytest.raises(RuntimeError, match="the codes are in a mapped file"):
        change(mapped)
    assert_right_at_every_length(mapped)


def test_failed_calls_leave_the_index_right():
    index = make_index()
    assert_right_at_every_length(index)
    with pytest.raises(RuntimeError):
        index.merge_from(make_index(d=8))
    with pytest.raises(RuntimeError):
        index.merge_from(faiss.IndexFlatL2(D))
    assert_right_at_every_length(index)


class AnyOrder(RuleBasedStateMachine):
    """Two indexes under random operations; searches are right after every step."""

    @initialize()
    def start(self):
        self.indexes = [make_index(20), make_index(30, seed=2)]
        self.seed = 10

    @rule(which=st.integers(0, 1), n=st.integers(0, 30))
    def add(self, which, n):
        self.seed += 1
        self.indexes[which].add(make_vectors(n, self.seed))

    @rule(which=st.integers(0, 1), first=st.integers(0, 60), n=st.integers(0, 20))
    def remove(self, which, first, n):
        self.indexes[which].remove_ids(faiss.IDSelectorRange(first, first + n))

    @rule(which=st.integers(0, 1))
    def merge(self, which):
        self.indexes[which].merge_from(self.indexes[1 - which])

    @rule(which=st.integers(0, 1))
    def merge_into_stock(self, which):
        stock_copy(self.indexes[which]).merge_from(self.indexes[which])

    @rule(which=st.integers(0, 1))
    def reset(self, which):
        self.indexes[which].reset()

    @rule(which=st.integers(0, 1))
    def pack(self, which):
        self.indexes[which].pack()

    @rule(which=st.integers(0, 1))
    def unpack(self, which):
        self.indexes[which].unpack()

    @rule(which=st.integers(0, 1))
    def replace_by_copy(self, which):
        self.indexes[which] = copy.copy(self.indexes[which])

    @precondition(lambda self: hasattr(self, "indexes"))
    @invariant()
    def searches_are_right(self):
        for index in self.indexes:
            for levels in (2, M):
                if index.ntotal:
                    k = min(3, index.ntotal)
                    assert_searches_right(index, X, k=k, levels=levels, params=SearchParametersDRQ(levels))


AnyOrder.TestCase.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
test_any_order = AnyOrder.TestCase


def test_state_ends_with_the_object():
    before = state_count()
    index = make_index()
    assert state_count() == before + 1
    del index
    assert state_count() == before


def test_state_ends_with_an_object_that_faiss_owns():
    before = state_count()
    index = make_index(0)
    outer = faiss.IndexIDMap2(index)
    outer.own_fields = True
    index.this.disown()
    del index
    assert state_count() == before + 1
    outer.add_with_ids(X, np.arange(4))
    assert outer.search(X, 1)[1].shape == (4, 1)
    del outer
    assert state_count() == before


@pytest.mark.slow
def test_memory_does_not_grow():
    def create_and_delete(times):
        for _ in range(times):
            index = make_index(10)
            index.search(X, 1, params=SearchParametersDRQ(2))

    def resident_kilobytes():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

    create_and_delete(300)
    gc.collect()
    states, before = state_count(), resident_kilobytes()
    create_and_delete(3000)
    assert state_count() == states
    assert resident_kilobytes() - before < 2000


EXIT_WITH_LIVE_INDEXES = """
import faiss, numpy as np
from drqfaiss import IndexDRQ, SearchParametersDRQ
index = IndexDRQ.from_codebooks(np.random.default_rng(0).standard_normal((4, 16, 8)).astype("f4"))
index.add(np.zeros((10, 8), "f4"))
outer = faiss.IndexIDMap2(IndexDRQ(8, 4, 4))
parameters = SearchParametersDRQ(2)
cycle = [index, outer, parameters]
cycle.append(cycle)
index.search(np.zeros((1, 8), "f4"), 1, params=parameters)
"""


def test_interpreter_exits_cleanly_with_live_indexes():
    result = subprocess.run([sys.executable, "-c", EXIT_WITH_LIVE_INDEXES], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
