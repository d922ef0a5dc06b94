"""IndexIVFDRQ: the same neighbours as NumPy and plain FAISS find in the same lists."""

import copy
import ctypes
import pickle
import threading

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import drqfaiss
from drqfaiss import (
    IndexDRQ,
    IndexIVFDRQ,
    SearchParametersDRQ,
    SearchParametersIVFDRQ,
    _core,
    adopt,
    clone_index,
)
from drqfaiss._plugin.layout import address, word
from tests import reference
from tests.conftest import AVAILABLE_LEVELS
from tests.indexes import make_codebooks, state_count
from tests.ivf_indexes import (
    METRICS,
    NBITS,
    NLIST,
    D,
    M,
    assert_searches_right,
    list_contents,
    make_ivf,
    make_quantizer,
    make_vectors,
    nearest,
    stock_copy,
    vectors_by_list,
)
from tests.simd_levels import search_on_all_levels

X = 2 * make_vectors(9, seed=1)
TRAIN = 2 * make_vectors(400, seed=5)
QUICK = {"iterations": 2, "beam": 1, "progress": False}
KINDS = [("l2", True), ("l2", False), ("ip", True), ("ip", False)]


@pytest.mark.parametrize("simd", AVAILABLE_LEVELS)
@pytest.mark.parametrize(("metric", "by_residual"), KINDS)
def test_finds_what_numpy_finds(metric, by_residual, simd):
    _core.set_simd_level(simd)
    index = make_ivf(metric=metric, by_residual=by_residual)
    for levels in range(1, M + 1):
        for nprobe in (1, 3, NLIST):
            parameters = SearchParametersIVFDRQ(levels, nprobe)
            assert_searches_right(index, X, levels=levels, nprobe=nprobe, params=parameters)


@pytest.mark.parametrize(("levels", "nbits"), [(8, 8), (16, 4), (3, 8), (5, 6), (2, 9)])
def test_every_code_width(levels, nbits):
    index = make_ivf(500, levels=levels, nbits=nbits)
    for used in (1, levels // 2 or 1, levels):
        assert_searches_right(index, X, levels=used, params=SearchParametersIVFDRQ(used, 3), nprobe=3)


@pytest.mark.parametrize(("metric", "by_residual"), KINDS)
def test_stock_faiss_finds_the_same(metric, by_residual):
    index = make_ivf(metric=metric, by_residual=by_residual)
    stock = stock_copy(index)
    for nprobe in (1, 2, NLIST):
        index.nprobe = stock.nprobe = nprobe
        reference.assert_neighbours(index.search(X, 10), stock.search(X, 10), scale=100)


def test_distances_stay_accurate_far_from_the_origin():
    index = make_ivf(offset=1000)
    x = X + np.float32(1000)
    assert_searches_right(index, x, scale=1e4)


def test_results_are_the_same_bits_on_every_simd_level_and_for_any_batch():
    index = make_ivf(2000, levels=8, nbits=8)
    index.nprobe = 5
    expected = index.search(X, 20)
    for simd in AVAILABLE_LEVELS:
        _core.set_simd_level(simd)
        for found in (
            index.search(X, 20),
            [np.vstack(a) for a in zip(*(index.search(x[None], 20) for x in X), strict=True)],
        ):
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize(("metric", "by_residual"), KINDS)
def test_first_lists_long_enough_to_tell_the_nearest_by_their_scores(metric, by_residual):
    x = np.vstack([X, make_quantizer(metric).reconstruct_n(0, NLIST).mean(0) + 1e-4 * X[:3]])
    for levels, nbits in [(8, 8), (16, 4), (3, 6)]:
        index = make_ivf(3000, metric, by_residual, levels=levels, nbits=nbits)
        ids = np.arange(3000, 4000)
        index.add_with_ids(np.repeat(2 * make_vectors(5, seed=3), 200, 0), ids)  # equal codes
        for k, used in [(1, levels), (7, levels), (30, levels // 2)]:
            params = SearchParametersIVFDRQ(used, 2)
            _core.set_simd_level("scalar")
            expected = index.search(x, k, params=params)
            for simd in AVAILABLE_LEVELS[1:]:
                _core.set_simd_level(simd)
                found = index.search(x, k, params=params)
                np.testing.assert_array_equal(found[1], expected[1])
                np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("dummy", [0.0, -40.0, 1e30, np.nan])
def test_distances_do_not_depend_on_those_passed_for_centroids(dummy):
    index = make_ivf(3000, levels=8, nbits=8)
    centroid_distances, keys = index.quantizer.search(X, 3)
    dummies = np.full_like(centroid_distances, dummy)
    expected = index.search(X, 7)
    for simd in AVAILABLE_LEVELS:
        _core.set_simd_level(simd)
        found = index.search_preassigned(X, 7, keys, dummies)
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[0], expected[0])


def far_apart_ivf(by_residual, metric="l2", spread=1000.0, offset=0.0):
    """Vectors in groups `spread` apart that differ by about 1 within a group."""
    rng = np.random.default_rng(5)
    groups = spread * np.where(rng.random((9, D)) < 0.5, -1, 1) + offset
    coarse = faiss.IndexFlat(D, METRICS[metric])
    coarse.add((groups[:4] + rng.standard_normal((4, D))).astype(np.float32))
    codebooks = 0.6 ** np.arange(5)[:, None, None] * rng.standard_normal((5, 32, D))
    if not by_residual:
        codebooks[0] = groups[rng.integers(0, 9, 32)] + rng.standard_normal((32, D))
    index = IndexIVFDRQ.from_codebooks(coarse, codebooks, METRICS[metric], by_residual)
    members = groups[rng.integers(0, 4 if by_residual else 9, 4000)]
    index.add((members + rng.standard_normal((4000, D))).astype(np.float32))
    index.nprobe = 4
    x = groups[rng.integers(0, 4, 40)] + rng.standard_normal((40, D))
    return index, x.astype(np.float32)


@pytest.mark.parametrize("parallel_mode", [0, 1, 3])
@pytest.mark.parametrize("by_residual", [True, False])
@pytest.mark.parametrize(("spread", "offset"), [(1e3, 0.0), (1e5, 0.0), (10.0, 1e5), (0.0, 1e4)])
def test_groups_that_lie_far_apart(by_residual, parallel_mode, spread, offset):
    index, x = far_apart_ivf(by_residual, spread=spread, offset=offset)
    index.parallel_mode = parallel_mode
    expected, _ = nearest(index, x, 10, nprobe=4)
    D_found, ids = search_on_all_levels(lambda: index.search(x, 10))
    rounding = 16 * 2.0**-24 * (spread + abs(offset) + 3) * D**0.5
    np.testing.assert_allclose(np.sqrt(D_found), np.sqrt(expected), rtol=2e-5, atol=rounding)
    everything = {}
    for held, vectors in vectors_by_list(index):
        everything.update(zip(held, vectors, strict=True))
    for row in range(len(x)):
        own = [np.square(x[row] - everything[number]).sum() for number in ids[row]]
        np.testing.assert_allclose(np.sqrt(own), np.sqrt(expected[row]), rtol=4e-5, atol=2 * rounding)


def test_single_distances_are_those_of_searches():
    """FAISS asks our scanner for one distance at a time where an index refines or iterates."""
    index, x = far_apart_ivf(True)
    D_found, ids = index.search(x, 3)
    scanner = index.get_InvertedListScanner(False, None, None)
    centroid_distances, keys = index.quantizer.search(x, 1)
    compared = 0
    for row in range(len(x)):
        scanner.set_query(faiss.swig_ptr(x[row]))
        number = int(keys[row, 0])
        scanner.set_list(number, float(centroid_distances[row, 0]))
        held, codes = list_contents(index, number)
        for j in np.flatnonzero(np.isin(ids[row], held)):
            code = np.ascontiguousarray(codes[held == ids[row, j]][0])
            assert scanner.distance_to_code(faiss.swig_ptr(code)) == D_found[row, j]
            compared += 1
    assert compared > 100


def test_lists_longer_than_a_block():
    quantizer = make_quantizer(nlist=1)
    index = IndexIVFDRQ.from_codebooks(quantizer, make_codebooks(levels=8, nbits=4))
    index.add(2 * make_vectors(20_000))
    assert_searches_right(index, X[:3], k=30)


def test_equal_codes_are_ordered_by_id():
    index = make_ivf(0)
    index.add_with_ids(np.repeat(X[:1], 50, 0), np.arange(50)[::-1].copy())
    D_found, ids = index.search(X[:1], 20)
    assert (D_found == D_found[0, 0]).all()
    np.testing.assert_array_equal(ids[0], np.arange(20))


def test_fewer_results_than_asked_for():
    index = make_ivf(5, nprobe=NLIST)
    D_found, ids = index.search(X, 8)
    assert (ids[:, 5:] == -1).all()
    assert (D_found[:, 5:] == np.finfo(np.float32).max).all()
    assert_searches_right(index, X, k=8)


def test_empty_index_and_no_queries():
    index = make_ivf(0)
    assert (index.search(X, 3)[1] == -1).all()
    assert make_ivf().search(X[:0], 3)[1].shape == (0, 3)


def test_queries_that_are_not_finite_find_nothing():
    index = make_ivf()
    bad = X.copy()
    bad[1, 3], bad[4, 0] = np.nan, np.inf
    ids = index.search(bad, 3)[1]
    assert (ids[[1, 4]] == -1).all()
    good = [0, 2, 3, 5]
    np.testing.assert_array_equal(ids[good], index.search(X[good], 3)[1])


@pytest.mark.parametrize("metric", METRICS)
def test_default_levels_and_nprobe(metric):
    index = make_ivf(metric=metric)
    index.levels, index.nprobe = 2, 4
    assert_searches_right(index, X, levels=2, nprobe=4)
    index.levels = None
    assert_searches_right(index, X, levels=M, nprobe=4)


@pytest.mark.parametrize("metric", METRICS)
def test_parameters_may_leave_nprobe_to_the_index(metric):
    index = make_ivf(metric=metric)
    index.nprobe = 4
    parameters = SearchParametersIVFDRQ(levels=2, nprobe=None)
    assert parameters.nprobe is None
    assert copy.copy(parameters).nprobe is None
    assert_searches_right(index, X, levels=2, nprobe=4, params=parameters)
    parameters.nprobe = 2
    assert_searches_right(index, X, levels=2, nprobe=2, params=parameters)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("outer", ["IDMap", "PreTransform", "Shards"])
@pytest.mark.parametrize("selected", [False, True])
def test_parameters_may_leave_nprobe_to_an_index_inside(metric, outer, selected):
    index = make_ivf(0 if outer == "IDMap" else 300, metric)
    selector = faiss.IDSelectorRange(20, 200) if selected else None

    def parameters(nprobe):
        own = SearchParametersIVFDRQ(levels=2, nprobe=nprobe, sel=selector)
        if outer == "PreTransform":
            return faiss.SearchParametersPreTransform(index_params=own)
        return own

    if outer == "IDMap":
        nested = faiss.IndexIDMap2(index)
        nested.add_with_ids(make_vectors(300) * 2, np.arange(300)[::-1].copy())
    elif outer == "PreTransform":
        nested = faiss.IndexPreTransform(faiss.RemapDimensionsTransform(D, D, True), index)
    else:
        nested = faiss.IndexShards(D, False, False)
        nested.add_shard(index)
    index.nprobe = 4
    expected, found = (nested.search(X, 5, params=parameters(nprobe)) for nprobe in (4, None))
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])
    assert (nested.search(X, 5, params=parameters(1))[1] != found[1]).any()
    if outer != "Shards":
        radius = float(expected[0][0, -1])
        expected, found = (nested.range_search(X, radius, params=parameters(nprobe)) for nprobe in (4, None))
        for there, here in zip(found, expected, strict=True):
            np.testing.assert_array_equal(there, here)


def test_faiss_searches_inside_other_indexes_only_with_a_number():
    index = make_ivf(0)
    outer = faiss.IndexIDMap(index)
    outer.add_with_ids(make_vectors(300), np.arange(300))
    with pytest.raises(RuntimeError, match=r"nprobe is None, expected a number: .*max_codes"):
        outer.search(X, 5, params=SearchParametersIVFDRQ(nprobe=None, max_codes=50))
    index.nprobe = 4
    found = index.search(X, 5, params=SearchParametersIVFDRQ(nprobe=None, max_codes=50))
    expected = outer.search(X, 5, params=SearchParametersIVFDRQ(nprobe=4, max_codes=50))
    np.testing.assert_array_equal(found[1], expected[1])


def test_more_lists_than_there_are_are_all():
    index = make_ivf()
    expected = index.search(X, 5, params=SearchParametersIVFDRQ(nprobe=NLIST))
    found = [index.search(X, 5, params=SearchParametersIVFDRQ(nprobe=NLIST + 100))]
    index.nprobe = NLIST + 1
    assert index.nprobe == NLIST + 1  # as plain FAISS keeps it
    found += [index.search(X, 5), index.search(X, 5, params=SearchParametersIVFDRQ(nprobe=None))]
    distances, lists = index.quantizer.search(X, NLIST)
    found += [index.search_preassigned(X, 5, lists, distances)]
    for result in found:
        np.testing.assert_array_equal(result[1], expected[1])
        np.testing.assert_array_equal(result[0], expected[0])


def test_an_index_with_vectors_is_not_trained_again():
    index = make_ivf()
    before = faiss.serialize_index(index)
    with pytest.raises(RuntimeError, match=r"has \d+ vectors, .* expected reset\(\) first"):
        index.train(make_vectors(500))
    np.testing.assert_array_equal(faiss.serialize_index(index), before)


def test_indexes_and_parameters_say_what_they_are():
    index = make_ivf(60, "ip")
    index.levels, index.refine_factor, index.nprobe = 2, 10, 3
    assert repr(index) == (
        f"<IndexIVFDRQ: 60 vectors, d={D}, ip, {M} levels of {index.rq.nbits.at(0)} bits, levels=2, "
        f"refine_factor=10, nprobe=3 of {NLIST} lists>"
    )
    assert repr(SearchParametersIVFDRQ(2, 3)) == "SearchParametersIVFDRQ(levels=2, nprobe=3)"
    assert repr(SearchParametersIVFDRQ(nprobe=None)) == "SearchParametersIVFDRQ()"
    assert repr(SearchParametersDRQ(4, refine_factor=5)) == "SearchParametersDRQ(levels=4, refine_factor=5)"
    assert repr(IndexDRQ(8, 3, (4, 4, 8))) == "<IndexDRQ: not trained, d=8, l2, 3 levels of 4/8 bits>"


@pytest.mark.parametrize("parallel_mode", [0, 3])
def test_selectors(parallel_mode):
    index = make_ivf()
    index.parallel_mode = parallel_mode
    wanted = np.arange(0, 300, 3)
    for selector, selected in [
        (faiss.IDSelectorBatch(wanted), lambda ids: ids % 3 == 0),
        (faiss.IDSelectorRange(50, 120), lambda ids: (ids >= 50) & (ids < 120)),
        (faiss.IDSelectorRange(50, 120, True), lambda ids: (ids >= 50) & (ids < 120)),
    ]:
        parameters = SearchParametersIVFDRQ(levels=3, nprobe=4, sel=selector)
        assert_searches_right(index, X, levels=3, nprobe=4, selected=selected, params=parameters)


@pytest.mark.parametrize(("metric", "by_residual"), KINDS)
@pytest.mark.parametrize("parallel_mode", [0, 1, 2, 3])
def test_parallel_modes(metric, by_residual, parallel_mode):
    index = make_ivf(metric=metric, by_residual=by_residual)
    index.parallel_mode = parallel_mode
    assert_searches_right(index, X, levels=3, params=SearchParametersIVFDRQ(3, 3))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("parallel_mode", [0, 3])
def test_lists_that_are_read_by_iterators(metric, parallel_mode):
    index = make_ivf(metric=metric)
    expected = index.search(X, 6)
    index.invlists.use_iterator = True
    index.parallel_mode = parallel_mode
    for probed in (index, clone_index(index)):
        found = probed.search(X, 6)
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[0], expected[0])


def rows(lims, D_found, ids):
    """The results of each query of a range search by id."""
    for begin, end in zip(lims[:-1].astype(int), lims[1:].astype(int), strict=True):
        order = np.argsort(ids[begin:end])
        yield D_found[begin:end][order], ids[begin:end][order]


@pytest.mark.parametrize(("metric", "by_residual"), KINDS)
@pytest.mark.parametrize("parallel_mode", [0, 1, 2])
def test_range_search(metric, by_residual, parallel_mode):
    index = make_ivf(metric=metric, by_residual=by_residual)
    stock = stock_copy(index)
    index.parallel_mode = parallel_mode
    radius = {"l2": 80.0, "ip": 5.0}[metric]
    found, expected = index.range_search(X, radius), stock.range_search(X, radius)
    assert found[0][-1] > 10
    for (D_found, ids), (D_expected, ids_expected) in zip(rows(*found), rows(*expected), strict=True):
        np.testing.assert_array_equal(ids, ids_expected)
        np.testing.assert_allclose(D_found, D_expected, atol=1e-3)
    expected = nearest(index, X, 300, levels=2)
    few = index.range_search(X, radius, params=SearchParametersIVFDRQ(2, 3))
    for (_, ids), D_expected, ids_expected in zip(rows(*few), *expected, strict=True):
        within = D_expected < radius if metric == "l2" else D_expected > radius
        np.testing.assert_array_equal(ids, np.sort(ids_expected[within]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("max_codes", [1, 40, 77, 250])
def test_max_codes(metric, max_codes):
    index = make_ivf(metric=metric)
    stock = stock_copy(index)
    ours = index.search(X, 5, params=SearchParametersIVFDRQ(nprobe=NLIST, max_codes=max_codes))
    parameters = faiss.SearchParametersIVF(nprobe=NLIST, max_codes=max_codes)
    reference.assert_neighbours(ours, stock.search(X, 5, params=parameters), scale=100)
    index.max_codes = max_codes
    index.nprobe = NLIST
    np.testing.assert_array_equal(index.search(X, 5)[1], ours[1])


def counted(index, **arguments):
    faiss.cvar.indexIVF_stats.reset()
    index.search(X, 5, **arguments)
    stats = faiss.cvar.indexIVF_stats
    return stats.nq, stats.nlist, stats.ndis


@pytest.mark.parametrize("parallel_mode", [0, 1, 3])
def test_statistics_are_those_of_stock_faiss(parallel_mode):
    index = make_ivf(20)  # so few that some lists are empty
    stock = stock_copy(index)
    index.parallel_mode = stock.parallel_mode = parallel_mode
    for nprobe in (2, NLIST):
        expected = counted(stock, params=faiss.SearchParametersIVF(nprobe=nprobe))
        assert counted(index, params=SearchParametersIVFDRQ(nprobe=nprobe)) == expected
    limited = {"nprobe": NLIST, "max_codes": 7}
    if parallel_mode != 1:
        expected = counted(stock, params=faiss.SearchParametersIVF(**limited))
        assert counted(index, params=SearchParametersIVFDRQ(**limited)) == expected


@pytest.mark.parametrize("metric", METRICS)
def test_search_preassigned(metric):
    index = make_ivf(metric=metric)
    centroid_distances, keys = index.quantizer.search(X, 3)
    keys[2, 1:] = -1
    D_found, ids = index.search_preassigned(X, 6, keys, centroid_distances)
    rest = [0, 1, *range(3, len(X))]
    expected = index.search(X, 6)
    np.testing.assert_array_equal(ids[rest], expected[1][rest])
    np.testing.assert_array_equal(D_found[rest], expected[0][rest])
    shorter = SearchParametersIVFDRQ(levels=1, nprobe=3)
    D_found, _ = index.search_preassigned(X[:2], 6, keys[:2], centroid_distances[:2], params=shorter)
    np.testing.assert_array_equal(D_found, index.search(X[:2], 6, params=shorter)[0])
    alone = index.search(X[2:3], 6, params=SearchParametersIVFDRQ(nprobe=1))
    np.testing.assert_array_equal(ids[2], alone[1][0])


def test_any_number_of_threads_finds_the_same():
    index = make_ivf(metric="l2")
    x = np.repeat(X, 5, 0)
    centroid_distances, keys = index.quantizer.search(x, 3)
    before = faiss.omp_get_max_threads()
    found, counts = [], []
    try:
        for threads in (1, 3):
            faiss.omp_set_num_threads(threads)
            faiss.cvar.indexIVF_stats.reset()
            ranged = rows(*index.range_search(x, 80.0))
            found.append(
                [*index.search(x, 6), *index.search_preassigned(x, 6, keys, centroid_distances)]
                + [array for row in ranged for array in row]
            )
            counts.append(faiss.cvar.indexIVF_stats.ndis)
    finally:
        faiss.omp_set_num_threads(before)
    assert counts[0] == counts[1]
    for one, many in zip(*found, strict=True):
        np.testing.assert_array_equal(many, one)


def test_search_and_reconstruct():
    index = make_ivf()
    D_found, ids, vectors = index.search_and_reconstruct(X, 4)
    np.testing.assert_array_equal(ids, index.search(X, 4)[1])
    np.testing.assert_allclose(((X[:, None] - vectors) ** 2).sum(2), D_found, rtol=1e-4)


def test_training_finds_near_neighbours():
    quantizer = faiss.IndexFlatL2(D)
    index = IndexIVFDRQ(quantizer, D, 4, 4, 5, scale="vector", prefix_weights={2: 0.1, 4: 1}, **QUICK)
    assert not index.is_trained
    index.train(TRAIN)
    index.add(TRAIN)
    index.nprobe = 4
    factors = _core.factor(faiss.vector_to_array(index.rq.codebooks).reshape(4, 32, D))[0]
    assert len(set(factors)) == 4  # scales per dimension
    error = ((index.reconstruct_n(0, len(TRAIN)) - TRAIN) ** 2).sum(1).mean()
    assert error < 0.5 * ((TRAIN - TRAIN.mean(0)) ** 2).sum(1).mean()
    assert (index.search(TRAIN[:50], 5)[1] == np.arange(50)[:, None]).any(1).mean() > 0.7
    assert_searches_right(index, X, levels=2, params=SearchParametersIVFDRQ(2, 4))


@pytest.mark.parametrize("metric", METRICS)
def test_levels_on_blocks(metric):
    options = {"layout": "blocks", "global_levels": 2, "block_size": 4, **QUICK}
    index = IndexIVFDRQ(make_quantizer(metric), D, NLIST, 9, 5, METRICS[metric], **options)
    index.train(TRAIN)
    codebooks = faiss.vector_to_array(index.rq.codebooks).reshape(9, 32, D)
    assert len(set(_core.blocks(codebooks)[0])) > 2  # all dimensions, and several blocks
    index.add(TRAIN)
    index.nprobe = NLIST
    for levels in (1, 4, 9):
        assert_searches_right(index, X, levels=levels, params=SearchParametersIVFDRQ(levels, NLIST))


def test_training_shares_one_codebook():
    index = IndexIVFDRQ(faiss.IndexFlatL2(D), D, 4, 4, 4, layout="shared", **QUICK)
    index.train(TRAIN)
    group, scale, _ = _core.factor(faiss.vector_to_array(index.rq.codebooks).reshape(4, 16, D))
    assert group == [0, 0, 0, 0]
    assert scale[0] == 1 and scale[3] < 1


def test_given_codebooks_encode_with_the_same_options():
    options = {"beam": 16, "prefix_weights": {1: 1, 4: 0.01}, **QUICK}
    trained = IndexIVFDRQ(make_quantizer(), D, NLIST, 4, 5, **options)
    trained.train(TRAIN)
    codebooks = faiss.vector_to_array(trained.rq.codebooks).reshape(4, 32, D)
    given = IndexIVFDRQ.from_codebooks(make_quantizer(), codebooks, **options)
    plain = IndexIVFDRQ.from_codebooks(make_quantizer(), codebooks, beam=16)
    np.testing.assert_array_equal(given.sa_encode(TRAIN), trained.sa_encode(TRAIN))
    assert (plain.sa_encode(TRAIN) != trained.sa_encode(TRAIN)).any()


def test_batched_adds_are_one_add():
    whole, batched = make_ivf(0), make_ivf(0)
    whole.add(TRAIN)
    for begin in range(0, len(TRAIN), 37):
        batched.add(TRAIN[begin : begin + 37])
        batched.search(X, 1)
    for found, expected in zip(batched.search(X, 9), whole.search(X, 9), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_copies_and_files(tmp_path):
    index = make_ivf()
    index.levels = 3
    expected = index.search(X, 5)
    for other in (
        copy.copy(index),
        copy.deepcopy(index),
        pickle.loads(pickle.dumps(index)),
        clone_index(index),
    ):
        assert type(other) is IndexIVFDRQ
        assert (other.levels, other.nprobe) == (3, 3)
        np.testing.assert_array_equal(other.search(X, 5)[1], expected[1])
    drqfaiss.write_index(index, tmp_path / "x.faiss")
    assert type(faiss.read_index(str(tmp_path / "x.faiss"))) is faiss.IndexIVFResidualQuantizer
    other = drqfaiss.read_index(tmp_path / "x.faiss")
    assert type(other) is IndexIVFDRQ
    np.testing.assert_array_equal(other.search(X, 5, params=SearchParametersIVFDRQ(3, 3))[1], expected[1])


def test_pickle_of_an_untrained_index():
    index = IndexIVFDRQ(faiss.IndexFlatL2(D), D, 4, 4, 4, by_residual=False, seed=3, **QUICK)
    index.rq.max_beam_size, index.nprobe = 3, 2
    other = pickle.loads(pickle.dumps(index))
    assert (other.nlist, other.nprobe, other.by_residual, other.rq.max_beam_size) == (4, 2, False, 3)
    assert other.rq.search_type == index.rq.search_type
    index.train(TRAIN)
    other.train(TRAIN)
    np.testing.assert_array_equal(
        faiss.vector_to_array(index.rq.codebooks), faiss.vector_to_array(other.rq.codebooks)
    )


@pytest.mark.parametrize("metric", METRICS)
def test_adopting_stock_indexes(metric):
    stock = faiss.IndexIVFResidualQuantizer(make_quantizer(metric), D, NLIST, M, NBITS, METRICS[metric])
    stock.train(TRAIN)
    stock.add(TRAIN)
    stock.nprobe = 4
    before = stock.search(X, 6)
    assert adopt(stock) is stock
    assert type(stock) is IndexIVFDRQ
    reference.assert_neighbours(stock.search(X, 6), before, scale=100)
    stock.add(X)
    assert_searches_right(stock, X, levels=2, params=SearchParametersIVFDRQ(2, 4))


@pytest.mark.parametrize("search_type", ["LUT_nonorm", "norm_float", "norm_qint8", "norm_cqint4"])
def test_adopting_indexes_with_stored_norms(search_type):
    number = getattr(faiss.AdditiveQuantizer, f"ST_{search_type}")
    stock = faiss.IndexIVFResidualQuantizer(make_quantizer(), D, NLIST, M, NBITS, faiss.METRIC_L2, number)
    stock.train(TRAIN)
    stock.add(TRAIN)
    adopt(stock)
    stock.add(X)
    assert_searches_right(stock, X)


def test_nested_indexes():
    inner = make_ivf(0)
    outer = faiss.IndexIDMap2(inner)
    outer.add_with_ids(TRAIN, np.arange(400) + 1000)
    ids = outer.search(X, 3, params=SearchParametersIVFDRQ(levels=2, nprobe=3))[1]
    np.testing.assert_array_equal(ids - 1000, nearest(inner, X, 3, levels=2)[1])

    stock = faiss.index_factory(D, "PCA8,IVF4,RQ3x4")
    stock.train(TRAIN)
    adopt(stock)
    for inside in (faiss.downcast_index(stock.index), faiss.extract_index_ivf(stock)):
        assert type(adopt(inside)) is IndexIVFDRQ


def test_shards():
    index = make_ivf(200)
    parts = [clone_index(index), clone_index(index)]
    quantizer = make_quantizer()
    shards = faiss.IndexShardsIVF(quantizer, NLIST, False, True)
    for part in parts:
        part.reset()
        shards.add_shard(part)
    shards.add(TRAIN)
    for part in parts:
        part.nprobe = 3
    whole = make_ivf(0)
    whole.add(TRAIN)
    reference.assert_neighbours(shards.search(X, 5), whole.search(X, 5), scale=100)


def make_shards(metric="l2"):
    """Two indexes in an IndexShardsIVF, and in an IndexShards, whose ids follow each other."""
    parts = [make_ivf(200, metric, seed=seed, nprobe=4) for seed in (1, 2)]
    coarse = make_quantizer(metric)
    shards = faiss.IndexShardsIVF(coarse, NLIST, False, True)
    shards.referenced_objects = [coarse]
    shards.metric_type = METRICS[metric]
    plain = faiss.IndexShards(D, False, True)
    plain.metric_type = METRICS[metric]
    for part in parts:
        shards.add_shard(part)
        plain.add_shard(part)
    return shards, plain, parts


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("levels", [1, 2, 5])
def test_levels_through_shards_that_share_the_coarse_search(metric, levels):
    shards, plain, parts = make_shards(metric)
    params = SearchParametersIVFDRQ(levels, nprobe=4)
    expected = plain.search(X, 6, params=params)
    reference.assert_neighbours(shards.search(X, 6, params=params), expected, scale=100)
    D_found, ids = np.empty((len(X), 6), np.float32), np.empty((len(X), 6), np.int64)
    assert shards.search(X, 6, params=params, D=D_found, I=ids)[0] is D_found
    reference.assert_neighbours((D_found, ids), expected, scale=100)
    for part in parts:
        part.levels = levels
    reference.assert_neighbours(shards.search(X, 6), expected, scale=100)


def test_shards_that_are_not_ours():
    shards, _, _ = make_shards()
    stock = stock_copy(make_ivf(0))
    shards.add_shard(stock)
    with pytest.raises(RuntimeError, match="got shard 2 of IndexIVFResidualQuantizer, expected an Index"):
        shards.search(X, 2, params=SearchParametersIVFDRQ(levels=2, nprobe=4))


def test_our_list_search_through_the_second_virtual_table():
    shards, _, _ = make_shards()
    faiss.cvar.indexIVF_stats.reset()
    shards.search(X, 5)
    stats = faiss.cvar.indexIVF_stats
    assert (stats.nq, stats.nheap_updates) == (2 * len(X), 0)  # FAISS's own search counts the latter


def test_deleting_through_the_second_virtual_table():
    before = state_count()
    index = make_ivf(50)
    assert state_count() == before + 1
    index.this.disown()
    interface = address(index) + 40
    destructor = word(word(interface) + 8 * 3)  # the last of four functions frees, too
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(destructor)(interface)
    assert state_count() == before


def test_searches_in_threads():
    index = make_ivf(1000)
    expected = [index.search(X, 5, params=SearchParametersIVFDRQ(levels, 4)) for levels in (1, 2, 3, 5)]
    fresh = clone_index(index)
    failures = []

    def run():
        for levels, (D_expected, ids) in zip((1, 2, 3, 5), expected, strict=True):
            found = fresh.search(X, 5, params=SearchParametersIVFDRQ(levels, 4))
            if not (np.array_equal(found[0], D_expected) and np.array_equal(found[1], ids)):
                failures.append(levels)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_search_is_right(data):
    metric = data.draw(st.sampled_from(sorted(METRICS)))
    levels, nbits = data.draw(st.sampled_from([(1, 8), (4, 8), (6, 4), (5, 5)]))
    index = make_ivf(
        data.draw(st.integers(0, 200)), metric, data.draw(st.booleans()), levels=levels, nbits=nbits
    )
    used, nprobe = data.draw(st.integers(1, levels)), data.draw(st.integers(1, NLIST))
    x = X[: data.draw(st.integers(1, len(X)))]
    parameters = SearchParametersIVFDRQ(used, nprobe)
    k = data.draw(st.sampled_from([1, 3, 50]))
    index.parallel_mode = data.draw(st.sampled_from([0, 3]))
    assert_searches_right(index, x, k=k, levels=used, nprobe=nprobe, params=parameters)


BAD_SEARCHES = [
    ({"params": SearchParametersIVFDRQ(levels=M + 1)}, ValueError, f"levels: got {M + 1}"),
    ({"params": SearchParametersDRQ(2)}, TypeError, "expected a faiss.SearchParametersIVF"),
    ({"k": 0}, ValueError, "k: got 0"),
    ({"x": X[:, :5]}, ValueError, r"x: got shape \(9, 5\)"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_SEARCHES)
def test_bad_searches(arguments, error, message):
    index = make_ivf()
    expected = index.search(X, 3)[1]
    with pytest.raises(error, match=message):
        index.search(**{"x": X, "k": 3, **arguments})
    np.testing.assert_array_equal(index.search(X, 3)[1], expected)


def test_bad_settings():
    index = make_ivf()
    for nprobe in (0, -1):
        with pytest.raises(ValueError, match=f"nprobe: got {nprobe}, expected at least 1"):
            index.nprobe = nprobe
    with pytest.raises(ValueError, match="levels: got 6, expected 0 to 5"):
        index.levels = 6
    assert (index.nprobe, index.levels) == (3, 0)
    with pytest.raises(ValueError, match="nprobe: got 0"):
        SearchParametersIVFDRQ(nprobe=0)
    with pytest.raises(ValueError, match="max_codes: got -1"):
        SearchParametersIVFDRQ(max_codes=-1)
    with pytest.raises(AttributeError, match=r"expected levels, nprobe, .*, refine_levels or refine_factor"):
        SearchParametersIVFDRQ().probes = 3


BAD_INDEXES = [
    ({"quantizer": 3}, TypeError, "quantizer: got 3"),
    ({"d": 5}, ValueError, "quantizer: got 16 dimensions, expected 5"),
    ({"nlist": 0}, ValueError, "nlist: got 0"),
    (
        {"metric": faiss.METRIC_INNER_PRODUCT},
        ValueError,
        "quantizer: got metric 1, expected the index's, 0",
    ),
    ({"nbits": 17}, ValueError, "nbits: got 17"),
    ({"scale": "log"}, ValueError, "scale: got 'log'"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_INDEXES)
def test_bad_indexes(arguments, error, message):
    with pytest.raises(error, match=message):
        IndexIVFDRQ(
            **{"quantizer": faiss.IndexFlatL2(D), "d": D, "nlist": 4, "M": M, "nbits": NBITS, **arguments}
        )


def test_untrained():
    index = IndexIVFDRQ(faiss.IndexFlatL2(D), D, 4, M, NBITS)
    for call in (lambda: index.search(X, 1), lambda: index.add(X), lambda: index.sa_encode(X)):
        with pytest.raises(RuntimeError, match="the index is not trained"):
            call()
    with pytest.raises(ValueError, match="x: got 9 training vectors, expected at least the 16 codewords"):
        index.train(X)
    with pytest.raises(ValueError, match="expected at least 40, one for each list"):
        IndexIVFDRQ(faiss.IndexFlatL2(D), D, 40, M, NBITS).train(TRAIN[:20])


def test_vectors_that_are_not_finite_are_not_added():
    index = make_ivf()
    bad = X.copy()
    bad[3, 2] = np.nan
    for call in (lambda: index.add(bad), lambda: index.add_with_ids(bad, np.arange(9))):
        with pytest.raises(ValueError, match=r"x: got 1 values that are NaN .*, the first at \(3, 2\)"):
            call()
    inner = make_ivf(0)
    outer = faiss.IndexIDMap(inner)
    with pytest.raises(RuntimeError, match="vector 3 holds nan, expected finite values"):
        outer.add_with_ids(bad, np.arange(9))
    assert (index.ntotal, inner.ntotal) == (300, 0)
    assert_searches_right(index, X)


@pytest.mark.parametrize("by_residual", [True, False])
def test_vectors_that_no_centroid_is_near_to_are_refused(by_residual):
    """FAISS counts them and drops them: their distances are no floats."""
    index = make_ivf(by_residual=by_residual)
    far = X.copy()
    far[4] = 3e38
    for call in (lambda: index.add(far), lambda: index.sa_encode(far)):
        with pytest.raises(RuntimeError, match="vector 4 goes to no list, expected a centroid"):
            call()
    assert index.ntotal == 300
    assert_searches_right(index, X)


def test_lists_that_do_not_exist():
    index = make_ivf()
    centroid_distances, keys = index.quantizer.search(X, 3)
    keys[1, 1] = NLIST
    with pytest.raises(ValueError, match=r"Iq: got \d to 8, expected -1 to 7"):
        index.search_preassigned(X, 3, keys, centroid_distances)
    with pytest.raises(RuntimeError, match="list number 8, expected 0 to 7"):
        faiss.IndexIVFResidualQuantizer.search_preassigned(index, X, 3, keys, centroid_distances)
    codes = index.sa_encode(X)
    codes[0, 0] = NLIST
    with pytest.raises(ValueError, match="codes: got one of list 8, expected 0 to 7"):
        index.add_sa_codes(codes)
    with pytest.raises(ValueError, match="codes: got one of list 8, expected 0 to 7"):
        index.sa_decode(codes)
    assert index.ntotal == 300


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        (np.ones((9, 3)), TypeError, "Iq: got float64, expected integers"),
        (np.full((9, 3), 2**64 - 1, "u8"), ValueError, "Iq: got 18446744073709551615, expected at most"),
        (np.ones(9, int), ValueError, r"Iq: got shape \(9,\), expected 2 dimensions"),
        (None, TypeError, "Iq: got object, expected integers"),
        ([[1], [1, 2]], ValueError, "Iq: got no array .*, expected one of 2 dimensions"),
    ],
)
def test_list_numbers_of_other_types(keys, error, message):
    with pytest.raises(error, match=message):
        make_ivf().search_preassigned(X, 3, keys, np.zeros((9, 3), "f4"))


def test_ids_that_do_not_fit_are_refused():
    index, ids = make_ivf(), np.array([1, 2**63 + 5, 7], "u8")
    for call in (
        lambda: index.add_with_ids(X[:3], ids),
        lambda: index.add_sa_codes(index.sa_encode(X[:3]), ids),
        lambda: index.remove_ids(ids),
    ):
        with pytest.raises(ValueError, match="got 9223372036854775813, expected at most 9223372036854775807"):
            call()
    assert index.ntotal == 300


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index)), clone_index]
)
def test_copies_of_an_untrained_index_train_alike(copied):
    index = IndexIVFDRQ(faiss.IndexFlatL2(D), D, NLIST, M, NBITS, **QUICK)
    index.cp.niter, index.cp.seed, index.cp.max_points_per_centroid = 3, 99, 1000
    index.cp.nredo, index.cp.spherical = 2, True
    index.rq.niter_codebook_refine, index.rq.max_beam_size, index.rq.cp.niter = 4, 3, 17
    index.quantizer_trains_alone, index.verbose = 0, False
    other = copied(index)
    for struct, name in [
        *[("cp", name) for name in ("niter", "seed", "max_points_per_centroid", "nredo", "spherical")],
        *[("rq", name) for name in ("niter_codebook_refine", "max_beam_size", "train_type")],
    ]:
        assert getattr(getattr(other, struct), name) == getattr(getattr(index, struct), name), name
    assert other.rq.cp.niter == 17
    index.train(TRAIN)
    other.train(TRAIN)
    np.testing.assert_array_equal(
        other.quantizer.reconstruct_n(0, NLIST), index.quantizer.reconstruct_n(0, NLIST)
    )
    codebooks = [faiss.vector_to_array(each.rq.codebooks) for each in (other, index)]
    np.testing.assert_array_equal(*codebooks)


@pytest.mark.parametrize("description", ["IVF4,DRQ2x4", "IDMap,IVF4,DRQ2x4", "IVF4_HNSW4,DRQ2x4"])
def test_training_vectors_whose_squares_overflow_are_refused(description):
    x = (3e19 * make_vectors(400, d=8)).astype(np.float32)
    index = drqfaiss.index_factory(8, description, progress=False)
    with pytest.raises(
        (ValueError, RuntimeError), match=r"training vector 0 has length .*expected at most 9e18"
    ):
        index.train(x)
    assert not index.is_trained
    index.train(make_vectors(400, d=8))
    assert index.is_trained


def test_wide_tables_are_searched_in_small_batches():
    """As many queries at a time as have room in 16 MiB a thread find what each finds alone."""
    rng = np.random.default_rng(0)
    coarse = faiss.IndexFlatL2(4)
    coarse.add(make_vectors(8, d=4))
    index = IndexIVFDRQ.from_codebooks(coarse, rng.normal(size=(4, 1 << 15, 4)))
    index.add_sa_codes(
        np.concatenate(
            [rng.integers(0, 8, (500, 1)), rng.integers(0, 256, (500, index.code_size))], 1
        ).astype(np.uint8)
        & np.array([7] + [255] * (index.code_size - 1) + [15], np.uint8)
    )
    index.nprobe = 3
    x = make_vectors(100, d=4)
    found = index.search(x, 4)
    alone = [index.search(x[i : i + 1], 4) for i in (0, 31, 32, 99)]
    for i, (D_alone, ids) in zip((0, 31, 32, 99), alone, strict=True):
        np.testing.assert_array_equal(found[0][i], D_alone[0])
        np.testing.assert_array_equal(found[1][i], ids[0])
