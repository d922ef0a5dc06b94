"""What the plug-in keeps about an IVF index stays right through everything that FAISS does with its lists."""

import copy
import os

import faiss
import numpy as np
import pytest
from faiss.contrib import ivf_tools
from faiss.contrib.ondisk import merge_ondisk
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from drqfaiss import IndexIVFDRQ, SearchParametersIVFDRQ, adopt, clone_index, read_index, write_index
from drqfaiss._core import plugin
from drqfaiss._plugin.layout import address
from tests.indexes import make_codebooks, state_count
from tests.ivf_indexes import NLIST, M, assert_searches_right, make_ivf, make_vectors, stock_copy

X = 2 * make_vectors(4, seed=1)


OTHER = make_ivf(200, seed=4)


def cached(index):
    return {levels: rows for levels, (rows, _) in plugin.cached_norms(address(index)).items()}


def held(index):
    """Bytes of the norms of all levels."""
    return plugin.cached_norms(address(index))[M][1]


def assert_right(index, lengths=(1, 3, M)):
    """Both ways of searching: list by list, and by FAISS with our scanner."""
    for parallel_mode in (0, 3):
        index.parallel_mode = parallel_mode
        for levels in lengths:
            parameters = SearchParametersIVFDRQ(levels, NLIST)
            assert_searches_right(index, X, levels=levels, nprobe=NLIST, params=parameters)
    index.parallel_mode = 0


def test_norms_are_cached_for_probed_lists_and_used_lengths():
    index = make_ivf()
    assert cached(index) == {}
    index.search(X[:1], 1, params=SearchParametersIVFDRQ(2, 1))
    assert 0 < cached(index)[2] < 300
    index.search(X, 1, params=SearchParametersIVFDRQ(2, NLIST))
    index.search(X, 1, params=SearchParametersIVFDRQ(0, NLIST))
    assert cached(index) == {2: 300, M: 300}


def test_inner_product_needs_no_norms():
    index = make_ivf(metric="ip")
    index.search(X, 1)
    assert cached(index) == {}


def test_append_extends_the_norms():
    index = make_ivf()
    assert_right(index)
    index.add(2 * make_vectors(50, seed=2))
    assert cached(index) == dict.fromkeys((1, 3, M), 300)
    index.add_sa_codes(index.sa_encode(2 * make_vectors(3, seed=3)))
    index.add_sa_codes(index.sa_encode(2 * make_vectors(3, seed=4)), np.arange(1000, 1003))
    assert_right(index)
    assert cached(index) == dict.fromkeys((1, 3, M), 356)


def test_norms_hold_little_more_than_they_need():
    index = make_ivf()
    assert_right(index)
    assert held(index) == 4 * 300
    for seed in range(3):
        index.add(2 * make_vectors(40, seed=seed))
        assert_right(index)
        assert held(index) <= 4 * index.ntotal * 9 / 8


@pytest.mark.parametrize("map_type", ["NoMap", "Array", "Hashtable"])
def test_direct_maps(map_type):
    index = make_ivf()
    index.set_direct_map_type(getattr(faiss.DirectMap, map_type))
    assert_right(index)
    if map_type != "Array":
        assert index.remove_ids(np.array([3, 4, 250])) == 3
        assert_right(index)
    if map_type != "NoMap":
        index.update_vectors(np.array([7, 8], np.int64), 2 * make_vectors(2, seed=6))
        assert_right(index)
        assert np.isfinite(index.reconstruct(7)).all()


def test_refused_update_changes_nothing():
    index = make_ivf()
    index.make_direct_map()
    bad = make_vectors(2)
    bad[1, 1] = np.inf
    with pytest.raises(RuntimeError, match="vector 1 holds inf"):
        index.update_vectors(np.array([7, 8], np.int64), bad)
    assert_right(index)


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.remove_ids(np.arange(0, 300, 2)),
        lambda index: index.remove_ids(faiss.IDSelectorRange(10, 100)),
        lambda index: index.reset(),
        lambda index: index.replace_invlists(OTHER.invlists, False),
        lambda index: faiss.copy_array_to_vector(make_codebooks(seed=5).ravel(), index.rq.codebooks),
    ],
)
def test_changes_are_noticed(change):
    index = make_ivf()
    assert_right(index)
    change(index)
    assert_right(index)
    index.add(2 * make_vectors(20, seed=9))
    assert_right(index)


def swap_centroids(index, first, second):
    """Exchange two centroids where the coarse quantizer keeps them."""
    coarse = faiss.downcast_index(index.quantizer)
    values = faiss.rev_swig_ptr(coarse.get_xb(), coarse.ntotal * index.d).reshape(-1, index.d)
    values[[first, second]] = values[[second, first]]


def move_one_centroid(index):
    coarse = faiss.downcast_index(index.quantizer)
    values = faiss.rev_swig_ptr(coarse.get_xb(), coarse.ntotal * index.d).reshape(-1, index.d)
    values[3, -1] += 0.25


def replace_the_coarse_quantizer(index):
    other = faiss.IndexFlat(index.d, index.metric_type)
    other.add(2 * make_vectors(NLIST, seed=78))
    index.quantizer = other
    index.referenced_objects = [other]


@pytest.mark.parametrize(
    "change",
    [
        lambda index: swap_centroids(index, 0, 5),
        move_one_centroid,
        replace_the_coarse_quantizer,
        ivf_tools.sort_invlists_by_size,
    ],
)
def test_changed_centroids_are_noticed(change):
    index = make_ivf()
    assert_right(index)
    change(index)
    assert_right(index)
    for levels in (1, 3, M):
        counted = cached(index)
        assert counted[levels] == 300


def test_a_coarse_quantizer_that_grows_without_moving():
    """HNSW and others reconstruct centroids as well; those of lists that are not probed are not read."""
    index = make_ivf()
    graph = faiss.IndexHNSWFlat(index.d, 8)
    graph.add(index.quantizer.reconstruct_n(0, NLIST))
    other = IndexIVFDRQ.from_codebooks(graph, make_codebooks())
    other.add(2 * make_vectors(300))
    expected = index.search(X, 5, params=SearchParametersIVFDRQ(nprobe=NLIST))
    found = other.search(X, 5, params=SearchParametersIVFDRQ(nprobe=NLIST))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-4)


def test_lists_written_from_python_are_noticed():
    index = make_ivf()
    assert_right(index)
    for number in range(NLIST):
        size = index.invlists.list_size(number)
        ids = np.arange(size, dtype=np.int64)
        codes = np.random.default_rng(number).integers(0, 256, (size, index.code_size), np.uint8)
        codes[:, -1] &= 15  # the last byte holds one level
        index.invlists.update_entries(number, 0, size, faiss.swig_ptr(ids), faiss.swig_ptr(codes))
    assert_right(index)


@pytest.mark.parametrize("target_is_ours", [True, False])
@pytest.mark.parametrize("source_is_ours", [True, False])
def test_merge_and_refill(target_is_ours, source_is_ours):
    target, source = make_ivf(100), make_ivf(200, seed=4)
    target = target if target_is_ours else stock_copy(target)
    source = source if source_is_ours else stock_copy(source)
    ours = [index for index in (target, source) if isinstance(index, IndexIVFDRQ)]
    for index in ours:
        assert_right(index)
    target.merge_from(source, 100)
    assert (target.ntotal, source.ntotal) == (300, 0)
    if target_is_ours:
        assert_right(target)
    source.add(2 * make_vectors(200, seed=5))
    for index in ours:
        assert_right(index)


def test_merges_that_cannot_be():
    index = make_ivf()
    for other, message in [
        (index, "cannot merge an index with itself"),
        (make_ivf(seed=3, levels=M, nbits=4, metric="ip"), "another metric"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            index.merge_from(other, 0)
    other = make_ivf(50)
    faiss.copy_array_to_vector(make_codebooks(seed=5).ravel(), other.rq.codebooks)
    with pytest.raises(RuntimeError, match="other codebooks"):
        index.merge_from(other, 0)
    assert (index.ntotal, other.ntotal) == (300, 50)
    assert_right(index)


def test_subsets():
    index = make_ivf()
    part = clone_index(index)
    part.reset()
    assert_right(index)
    faiss.IndexIVF.copy_subset_to(index, part, faiss.InvertedLists.SUBSET_TYPE_ID_RANGE, 50, 120)
    assert part.ntotal == 70
    assert_right(part)


def test_lists_on_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index = make_ivf(0)
    names = []
    for part in range(3):
        index.reset()
        index.add_with_ids(2 * make_vectors(100, part), np.arange(100) + 100 * part)
        names.append(f"part{part}.faiss")
        write_index(index, names[-1])
    index.reset()
    merge_ondisk(index, names, "lists.data")
    assert_right(index)
    write_index(index, "whole.faiss")
    mapped = read_index("whole.faiss")
    assert type(mapped) is IndexIVFDRQ
    for found, expected in zip(mapped.search(X, 5), index.search(X, 5), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_lists_on_disk_that_are_cut_off(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index = make_ivf()
    write_index(index, "part.faiss")
    index.reset()
    merge_ondisk(index, ["part.faiss"], "lists.data")
    write_index(index, "whole.faiss")
    os.truncate("lists.data", 100)
    with pytest.raises(RuntimeError, match=r"lists\.data: got 100 bytes, expected"):
        read_index("whole.faiss")


def test_damaged_file(tmp_path):
    write_index(make_ivf(), tmp_path / "x.faiss")
    content = (tmp_path / "x.faiss").read_bytes()
    for length in (10, 200, len(content) // 2, len(content) - 8):
        with pytest.raises(RuntimeError, match="not a FAISS index, or damaged"):
            read_index(content[:length])


def test_stacked_lists_without_codes_in_place():
    """FAISS returns a copy of such a list's codes every time."""
    whole, parts = make_ivf(300), [make_ivf(300), make_ivf(300)]
    parts[0].remove_ids(faiss.IDSelectorRange(150, 300))
    parts[1].remove_ids(faiss.IDSelectorRange(0, 150))
    lists = faiss.InvertedListsPtrVector()
    for part in parts:
        lists.push_back(part.invlists)
    stacked = faiss.HStackInvertedLists(lists.size(), lists.data())
    index = clone_index(whole)
    index.replace_invlists(stacked, False)
    for parallel_mode in (0, 3):
        index.parallel_mode = parallel_mode
        parameters = SearchParametersIVFDRQ(3, NLIST)
        for found, expected in zip(
            index.search(X, 9, params=parameters), whole.search(X, 9, params=parameters), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


def test_copies_have_their_own_state():
    index = make_ivf()
    assert_right(index)
    for other in (copy.copy(index), clone_index(index), adopt(stock_copy(index))):
        assert cached(other) == {}
        other.remove_ids(np.arange(100))
        assert_right(other)
    assert_right(index)


def test_state_ends_with_the_object():
    before = state_count()
    index = make_ivf()
    outer = faiss.IndexPreTransform(faiss.IndexPreTransform(index))
    assert state_count() == before + 1
    del index, outer
    assert state_count() == before


class AnyOrder(RuleBasedStateMachine):
    """Two indexes under random operations; searches are right after every step."""

    @initialize(by_residual=st.booleans())
    def start(self, by_residual):
        self.indexes = [make_ivf(n, by_residual=by_residual, seed=n) for n in (20, 30)]
        self.seed = 10

    @rule(which=st.integers(0, 1), n=st.integers(0, 30))
    def add(self, which, n):
        self.seed += 1
        index = self.indexes[which]
        next_id = 1000 * self.seed
        index.add_with_ids(2 * make_vectors(n, self.seed), np.arange(next_id, next_id + n))

    @rule(which=st.integers(0, 1), divisor=st.integers(2, 9))
    def remove(self, which, divisor):
        ids = np.concatenate([[0], *(_ids(self.indexes[which], number) for number in range(NLIST))])
        self.indexes[which].remove_ids(np.unique(ids[ids % divisor == 0]).astype(np.int64))

    @rule(which=st.integers(0, 1))
    def merge(self, which):
        self.indexes[which].merge_from(self.indexes[1 - which], 1_000_000 + 1000 * self.seed)

    @rule(which=st.integers(0, 1))
    def merge_into_stock(self, which):
        stock_copy(self.indexes[which]).merge_from(self.indexes[which], 0)

    @rule(which=st.integers(0, 1))
    def reset(self, which):
        self.indexes[which].reset()

    @rule(which=st.integers(0, 1))
    def replace_by_copy(self, which):
        self.indexes[which] = copy.copy(self.indexes[which])

    @precondition(lambda self: hasattr(self, "indexes"))
    @invariant()
    def searches_are_right(self):
        for index in self.indexes:
            assert_right(index, lengths=(2, M))


def _ids(index, number):
    n = index.invlists.list_size(number)
    return faiss.rev_swig_ptr(index.invlists.get_ids(number), n).copy() if n else np.empty(0, np.int64)


AnyOrder.TestCase.settings = settings(max_examples=15, stateful_step_count=10, deadline=None)
test_any_order = AnyOrder.TestCase


def test_any_code_changed_in_place_is_noticed_in_time():
    index = make_ivf(2000)
    lists = faiss.downcast_InvertedLists(index.invlists)
    assert_right(index, lengths=(M,))
    number = int(np.argmax([lists.list_size(i) for i in range(NLIST)]))
    size = lists.list_size(number) * lists.code_size
    codes = faiss.rev_swig_ptr(lists.get_codes(number), size).reshape(-1, lists.code_size)
    row = len(codes) // 3  # neither among the first, middle nor last rows
    codes[row] = codes[row] ^ 0xFF
    parameters = SearchParametersIVFDRQ(M, NLIST)
    for _ in range(NLIST * (1 + size // 4096)):
        index.search(X[:1], 1, params=parameters)
    assert_right(index, lengths=(M,))
