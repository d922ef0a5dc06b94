"""IndexDRQ as a FAISS index: results, code lengths, selectors, bad input."""

import copy
import gc
import pickle
import threading

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drqfaiss import IndexDRQ, SearchParametersDRQ, clone_index
from drqfaiss._core import plugin
from drqfaiss._plugin.layout import address
from tests import reference
from tests.indexes import (
    METRICS,
    NBITS,
    D,
    M,
    assert_searches_right,
    make_codebooks,
    make_index,
    make_vectors,
    reconstructions,
    stock_copy,
)

X = make_vectors(9, seed=1)


class NamedIndex(IndexDRQ):
    """A subclass as users write them."""


def test_is_a_faiss_residual_quantizer_index():
    index = IndexDRQ(D, M, NBITS)
    assert isinstance(index, faiss.IndexResidualQuantizer)
    assert (index.d, index.rq.M, index.code_size, index.ntotal, index.is_trained) == (D, M, 3, 0, False)
    assert type(faiss.downcast_index(index)) is faiss.IndexResidualQuantizer


@pytest.mark.parametrize("metric", METRICS)
def test_search_equals_stock_search_of_the_same_codes(metric):
    index = make_index(1000, metric)
    stock = stock_copy(index)
    for search_type in (faiss.AdditiveQuantizer.ST_norm_from_LUT, faiss.AdditiveQuantizer.ST_decompress):
        stock.rq.search_type = search_type
        reference.assert_neighbours(index.search(X, 20), stock.search(X, 20), scale=100)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 300),
    d=st.sampled_from([1, 5, 16]),
    levels=st.integers(1, 6),
    nbits=st.sampled_from([1, 3, 4, 8]),
    metric=st.sampled_from(sorted(METRICS)),
    k=st.sampled_from([1, 7]),
    data=st.data(),
)
def test_search_equals_numpy_at_every_length(n, d, levels, nbits, metric, k, data):
    index = make_index(n, metric, d=d, levels=levels, nbits=nbits)
    used = data.draw(st.integers(1, levels))
    x = make_vectors(3, 1, d)
    D_found, ids = index.search(x, k, params=SearchParametersDRQ(used))
    expected = reference.nearest(x, reconstructions(index, used), k, metric)
    found = min(k, n)
    reference.assert_neighbours((D_found[:, :found], ids[:, :found]), expected, scale=1000)
    assert (ids[:, found:] == -1).all()


@pytest.mark.parametrize("metric", METRICS)
def test_missing_results_are_padded_as_stock_faiss_does(metric):
    index = make_index(3, metric)
    D_found, ids = index.search(X, 5)
    D_stock, ids_stock = stock_copy(index).search(X, 5)
    np.testing.assert_array_equal(ids[:, 3:], ids_stock[:, 3:])
    np.testing.assert_array_equal(D_found[:, 3:], D_stock[:, 3:])


def test_empty_index_finds_nothing():
    index = make_index(0)
    assert (index.search(X, 3)[1] == -1).all()
    assert index.range_search(X, 1e9)[0].tolist() == [0] * (len(X) + 1)


def test_levels_of_the_index_are_the_default_and_parameters_override_them():
    index = make_index()
    assert index.levels == 0
    index.levels = 2
    assert index.levels == 2
    assert_searches_right(index, X, levels=2)
    assert_searches_right(index, X, levels=4, params=SearchParametersDRQ(levels=4))
    assert_searches_right(index, X, levels=2, params=SearchParametersDRQ())
    assert_searches_right(index, X, levels=2, params=faiss.SearchParameters())
    index.levels = None
    assert index.levels == 0
    assert_searches_right(index, X)


SELECTORS = [
    faiss.IDSelectorRange(20, 60),
    faiss.IDSelectorBatch([5, 7, 200]),
    faiss.IDSelectorArray(np.arange(0, 300, 7)),
    faiss.IDSelectorBitmap(np.full(38, 0b10010010, np.uint8)),
    faiss.IDSelectorNot(faiss.IDSelectorRange(0, 290)),
    faiss.IDSelectorAll(),
]


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda selector: type(selector).__name__)
@pytest.mark.parametrize("parameters", [SearchParametersDRQ, faiss.SearchParameters])
@pytest.mark.parametrize("metric", METRICS)
def test_selectors(metric, parameters, selector):
    index = make_index(metric=metric)
    allowed = np.flatnonzero([selector.is_member(i) for i in range(index.ntotal)])
    k = min(5, len(allowed))
    D_found, ids = index.search(X, k, params=parameters(sel=selector))
    D_expected, rows = reference.nearest(X, reconstructions(index)[allowed], k, metric)
    reference.assert_neighbours((D_found, ids), (D_expected, allowed[rows]), scale=100)


def test_selector_of_search_parameters_may_be_set_later():
    index = make_index()
    parameters = SearchParametersDRQ(levels=2)
    parameters.sel = faiss.IDSelectorRange(0, 10)
    gc.collect()
    ids = index.search(X, 10, params=parameters)[1]
    assert np.array_equal(np.sort(ids), np.tile(np.arange(10), (len(X), 1)))


def test_parameters_are_forgotten_with_their_object():
    parameters = SearchParametersDRQ(3)
    assert parameters.levels == 3
    parameters.levels = 4
    where = address(parameters)
    assert plugin.parameter_depth(where) == (4, 0, 0)
    del parameters
    assert plugin.parameter_depth(where) == (0, 0, 0)


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda parameters: pickle.loads(pickle.dumps(parameters))]
)
def test_copies_of_parameters_are_on_their_own(duplicate):
    original = SearchParametersDRQ(levels=2)
    other = duplicate(original)
    original.levels = 3
    assert type(other) is SearchParametersDRQ
    assert (other.levels, other.sel) == (2, None)
    del original
    assert_searches_right(make_index(), X, levels=2, params=other)


def test_a_copy_of_parameters_keeps_the_selector_alive():
    original = SearchParametersDRQ(2, faiss.IDSelectorArray(np.arange(10)))
    other = copy.copy(original)
    assert other.sel is original.sel
    original.sel = None
    del original
    gc.collect()
    ids = make_index().search(X, 10, params=other)[1]
    assert np.array_equal(np.sort(ids), np.tile(np.arange(10), (len(X), 1)))


def test_selectors_are_not_pickled():
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(SearchParametersDRQ(2, faiss.IDSelectorAll()))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("levels", [1, 3, M])
def test_range_search_equals_numpy(metric, levels):
    index = make_index(metric=metric)
    distances = reference.distances(X, reconstructions(index, levels), metric)
    radius = float(np.quantile(distances, 0.1 if metric == "l2" else 0.9))
    inside = distances < radius if metric == "l2" else distances > radius
    lims, D_found, ids = index.range_search(X, radius, params=SearchParametersDRQ(levels))
    assert lims.tolist() == [0, *np.cumsum(inside.sum(1)).tolist()]
    for i in range(len(X)):
        row = slice(int(lims[i]), int(lims[i + 1]))
        np.testing.assert_array_equal(ids[row], np.flatnonzero(inside[i]))
        np.testing.assert_allclose(D_found[row], distances[i, inside[i]], atol=1e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_thresholds_beyond_the_range_of_floats(metric):
    index = make_index(metric=metric)
    for thresh, found in ((1e40, metric == "l2"), (-1e40, metric == "ip")):
        assert index.range_search(X, thresh)[0].tolist() == [300 * found * i for i in range(len(X) + 1)]


def test_range_search_with_selector():
    index = make_index()
    _, _, ids = index.range_search(X, 1e9, params=SearchParametersDRQ(sel=faiss.IDSelectorRange(3, 6)))
    assert ids.tolist() == [3, 4, 5] * len(X)


def test_range_search_equals_stock():
    index = make_index()
    lims, D_found, ids = index.range_search(X, 15.0)
    lims_stock, D_stock, ids_stock = stock_copy(index).range_search(X, 15.0)
    assert lims[-1] > 0
    np.testing.assert_array_equal(lims, lims_stock)
    np.testing.assert_array_equal(ids, ids_stock)
    np.testing.assert_allclose(D_found, D_stock, atol=1e-4)


@pytest.mark.parametrize("nbits", [2, 4, 6, 8])
@pytest.mark.parametrize("beam", [1, 5])
def test_codes_equal_stock_codes(nbits, beam):
    index = make_index(0, nbits=nbits)
    index.rq.max_beam_size = beam
    x = make_vectors(500)
    np.testing.assert_array_equal(index.sa_encode(x), stock_copy(index).sa_encode(x))


def test_stored_norms_are_packed_as_stock_does():
    stock = faiss.IndexResidualQuantizer(D, M, NBITS, faiss.METRIC_L2, faiss.AdditiveQuantizer.ST_norm_float)
    faiss.copy_array_to_vector(make_codebooks().ravel(), stock.rq.codebooks)
    stock.rq.compute_codebook_tables()
    stock.rq.is_trained = stock.is_trained = True
    x = make_vectors(200)
    expected = stock.sa_encode(x)
    plugin.adopt(address(stock))
    found, expected = (
        np.unpackbits(codes, axis=1, bitorder="little") for codes in (stock.sa_encode(x), expected)
    )
    np.testing.assert_array_equal(found[:, : M * NBITS], expected[:, : M * NBITS])
    found, expected = (
        np.packbits(bits[:, M * NBITS : M * NBITS + 32], axis=1, bitorder="little").view(np.float32)
        for bits in (found, expected)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    stock.add(x)
    assert_searches_right(stock, X)


def test_reconstruction_is_the_stock_one():
    index = make_index()
    stock = stock_copy(index)
    np.testing.assert_array_equal(index.reconstruct(7), stock.reconstruct(7))
    np.testing.assert_array_equal(index.reconstruct_n(3, 20), stock.reconstruct_n(3, 20))
    np.testing.assert_array_equal(index.reconstruct_batch([1, 5]), stock.reconstruct_batch([1, 5]))
    np.testing.assert_array_equal(index.sa_decode(index.sa_encode(X)), stock.sa_decode(index.sa_encode(X)))
    np.testing.assert_allclose(index.reconstruct_n(), reconstructions(index), atol=1e-5)
    with pytest.raises(RuntimeError):
        index.reconstruct(10**9)


def test_search_and_reconstruct_and_assign():
    index = make_index()
    D_found, ids = index.search(X, 4)
    D_again, ids_again, vectors = index.search_and_reconstruct(X, 4)
    np.testing.assert_array_equal((D_again, ids_again), (D_found, ids))
    np.testing.assert_array_equal(vectors[2, 3], index.reconstruct(int(ids[2, 3])))
    np.testing.assert_array_equal(index.assign(X, 4), ids)


def test_distance_computer_gives_distances_of_the_reconstruction():
    for metric in METRICS:
        index = make_index(metric=metric)
        computer = index.get_distance_computer()
        computer.set_query(faiss.swig_ptr(X))
        expected = reference.distances(X[:1], reconstructions(index), metric)[0]
        np.testing.assert_allclose([computer(i) for i in range(50)], expected[:50], rtol=1e-4, atol=1e-4)


def test_graph_over_the_index():
    """Stock FAISS has no L2 distance computer for our search type, and failing in its threads is fatal."""
    index = make_index(0)
    graph = faiss.IndexHNSW(index, 16)
    graph.add(make_vectors(1000))
    graph.hnsw.efSearch = 500
    D_graph, ids = graph.search(X, 5)
    D_exact, ids_exact = index.search(X, 5)
    assert np.mean(ids == ids_exact) > 0.7
    same = ids == ids_exact
    np.testing.assert_allclose(D_graph[same], D_exact[same], rtol=1e-4)


def test_outputs_are_written_to_the_given_arrays():
    index = make_index()
    D_out, I_out = np.empty((len(X), 3), np.float32), np.empty((len(X), 3), np.int64)
    D_found, ids = index.search(X, 3, D=D_out, I=I_out)
    assert D_found is D_out and ids is I_out
    np.testing.assert_array_equal((D_out, I_out), index.search(X, 3))


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.float64),
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x.tolist(),
        lambda x: x.astype(">f4"),
    ],
)
def test_anything_that_is_float32_vectors_is_converted(convert):
    index = make_index()
    np.testing.assert_array_equal(index.search(convert(X), 5), index.search(X, 5))


def test_integers_and_half_floats_are_converted():
    index = make_index()
    for x in (np.arange(2 * D).reshape(2, D) % 5, (np.arange(2 * D).reshape(2, D) % 2).astype(bool)):
        np.testing.assert_array_equal(index.search(x, 5), index.search(x.astype(np.float32), 5))
    half = X.astype(np.float16)
    np.testing.assert_array_equal(index.search(half, 5), index.search(half.astype(np.float32), 5))


BAD_VECTORS = [
    (X[:, :3], ValueError, r"got shape \(9, 3\), expected \(n, 16\)"),
    (X[0], ValueError, r"got shape \(16,\), expected 2 dimensions"),
    (X[None], ValueError, "expected 2 dimensions"),
    (X.astype(complex), TypeError, "got complex128, expected numbers"),
    (np.full((2, D), "a"), TypeError, "got <U1"),
    (np.full((2, D), None), TypeError, "got object"),
    ([[1.0] * D, [1.0]], ValueError, "x: got no array .*, expected one of 2 dimensions"),
    (None, TypeError, "got object"),
]


@pytest.mark.parametrize(("x", "error", "message"), BAD_VECTORS)
def test_bad_vectors(x, error, message):
    index = make_index()
    before = faiss.serialize_index(index).tobytes()
    for call in (
        lambda: index.search(x, 3),
        lambda: index.range_search(x, 3.0),
        lambda: index.assign(x, 3),
        lambda: index.search_and_reconstruct(x, 3),
        lambda: index.sa_encode(x),
        lambda: index.add(x),
        lambda: index.train(x),
    ):
        with pytest.raises(error, match=message):
            call()
    assert faiss.serialize_index(index).tobytes() == before


BAD_ARGUMENTS = [
    (lambda index: index.search(X, 0), ValueError, "k: got 0, expected at least 1"),
    (lambda index: index.search(X, -3), ValueError, "k: got -3"),
    (lambda index: index.search(X, 2.5), TypeError, "k: got 2.5, expected an integer"),
    (lambda index: index.search(X, 3, D=np.empty((9, 3))), TypeError, "D: got float64, expected a float32"),
    (lambda index: index.search(X, 3, D=np.empty((9, 2), "f4")), ValueError, r"D: got shape \(9, 2\)"),
    (
        lambda index: index.search(X, 3, D=np.empty((3, 9), "f4").T),
        ValueError,
        "D: .*, expected a C-contiguous",
    ),
    (lambda index: index.search(X, 3, I=np.empty((9, 3), "i4")), TypeError, "I: got int32"),
    (lambda index: index.search(X, 3, I="ids"), TypeError, "I: got 'ids'"),
    (
        lambda index: index.search(X, 3, params=3),
        TypeError,
        "params: got 3, expected a faiss.SearchParameters",
    ),
    (
        lambda index: index.search(X, 3, params=SearchParametersDRQ(6)),
        ValueError,
        r"levels: got 6, expected 0 \(all\) to 5",
    ),
    (lambda index: index.range_search(X, float("nan")), ValueError, "thresh: got nan"),
    (lambda index: index.range_search(X, "far"), TypeError, "thresh: got 'far'"),
    (lambda index: setattr(index, "levels", 6), ValueError, "levels: got 6, expected 0 to 5"),
    (lambda index: setattr(index, "levels", -1), ValueError, "levels: got -1"),
    (lambda index: setattr(index, "levels", "two"), TypeError, "levels: got 'two'"),
    (lambda index: setattr(index, "level", 2), AttributeError, "level"),
    (lambda index: index.add_sa_codes(np.zeros((2, 4), np.uint8)), ValueError, r"expected \(n, 3\)"),
    (lambda index: index.add_sa_codes(np.zeros((2, 3))), TypeError, "codes: got float64, expected uint8"),
    (lambda index: index.sa_decode(np.zeros((2, 2), np.uint8)), ValueError, r"expected \(n, 3\)"),
    (
        lambda index: index.add_sa_codes(np.zeros((2, 3), np.uint8), [1, 2]),
        ValueError,
        "an IndexDRQ numbers",
    ),
    (lambda index: index.remove_ids("all"), TypeError, "x: got <U3, expected integers"),
    (lambda index: index.remove_ids(np.zeros((2, 2), np.int64)), ValueError, "expected one dimension"),
    (lambda index: index.permute_entries([0, 1]), ValueError, r"perm: got \[0, 1\], expected a permutation"),
    (lambda index: index.permute_entries([1] * 300), ValueError, "expected a permutation of 0 to 299"),
    (lambda index: index.permute_entries("reverse"), TypeError, "perm: "),
    (lambda _: SearchParametersDRQ(levels=-1), ValueError, "levels: got -1"),
    (lambda _: SearchParametersDRQ(levels=1.5), TypeError, "levels: got 1.5"),
    (lambda _: SearchParametersDRQ(sel=[1, 2]), TypeError, r"sel: got \[1, 2\], expected a faiss.IDSelector"),
    (lambda _: IndexDRQ(0), ValueError, "d: got 0"),
    (lambda _: IndexDRQ(D, 0), ValueError, "M: got 0"),
    (lambda _: IndexDRQ(D, 8, 17), ValueError, "nbits: got 17, expected 1 to 16"),
    (lambda _: IndexDRQ(D, 8, 8, faiss.METRIC_L1), ValueError, "metric: got 2, expected METRIC_L2"),
    (lambda _: IndexDRQ(D, scale="none"), ValueError, "scale: got 'none', expected one of 'geometric'"),
    (lambda _: IndexDRQ(D, iterations=0), ValueError, "iterations: got 0"),
    (lambda _: IndexDRQ(D, prefix_weights=[1]), TypeError, r"prefix_weights: got \[1\]"),
    (
        lambda _: IndexDRQ(D, prefix_weights={9: 1, 8: 1}),
        ValueError,
        "prefix_weights: got 9, expected 1",
    ),
    (
        lambda _: IndexDRQ(D, prefix_weights={4: 1}),
        ValueError,
        "prefix_weights: got no weight for all 8 levels",
    ),
    (lambda _: IndexDRQ(D, prefix_weights={8: -1}), ValueError, "prefix_weights: got -1.0 for length 8"),
    (lambda _: IndexDRQ(D, beam=2**31), ValueError, "beam: got 2147483648, expected 1 to 2147483647"),
    (lambda _: IndexDRQ(D, seed=2**31), ValueError, "seed: got 2147483648, expected 0 to 2147483647"),
    (lambda _: IndexDRQ(D, max_vectors=255), ValueError, "max_vectors: got 255, expected at least 256"),
    (lambda _: IndexDRQ(D, epochs=3), TypeError, "epochs"),
    (lambda _: IndexDRQ.from_codebooks(np.zeros((2, 3, 4))), ValueError, "3 codewords per level"),
    (lambda _: IndexDRQ.from_codebooks(np.zeros((2, 4))), ValueError, "expected 3 dimensions"),
    (lambda _: IndexDRQ.from_codebooks(np.full((2, 4, 4), np.nan)), ValueError, "NaN or infinite"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD_ARGUMENTS)
def test_bad_arguments(call, error, message):
    index = make_index()
    before = faiss.serialize_index(index).tobytes()
    with pytest.raises(error, match=message):
        call(index)
    assert faiss.serialize_index(index).tobytes() == before
    assert index.levels == 0


def test_levels_out_of_range_inside_another_index_is_a_runtime_error():
    outer = faiss.IndexIDMap2(make_index(0))
    outer.add_with_ids(X, np.arange(len(X)))
    with pytest.raises(RuntimeError, match=r"levels is 9, expected 0 \(all\) to 5"):
        outer.search(X, 3, params=SearchParametersDRQ(9))


def test_unsupported_metric_is_an_error_at_the_search():
    index = make_index()
    index.metric_type = faiss.METRIC_Linf
    with pytest.raises(RuntimeError, match="metric_type is 3, expected METRIC_L2"):
        index.search(X, 3)


def test_untrained_index():
    index = IndexDRQ(D, M, NBITS)
    for call in (
        lambda: index.search(X, 3),
        lambda: index.range_search(X, 3.0),
        lambda: index.add(X),
        lambda: index.sa_encode(X),
        lambda: index.sa_decode(np.zeros((1, 3), np.uint8)),
        lambda: index.add_sa_codes(np.zeros((1, 3), np.uint8)),
    ):
        with pytest.raises(RuntimeError, match="the index is not trained"):
            call()
    with pytest.raises(RuntimeError, match="the index is not trained"):
        faiss.IndexIDMap(index).search(X, 3)
    assert index.ntotal == 0


def test_copies_keep_levels_and_training_options_and_stay_fast():
    index = make_index()
    index.levels = 3
    training = plugin.training(address(index))
    copies = [copy.copy(index), copy.deepcopy(index), pickle.loads(pickle.dumps(index)), clone_index(index)]
    for other in copies:
        assert type(other) is IndexDRQ
        assert plugin.is_adopted(address(other))
        assert other.levels == 3
        assert plugin.training(address(other)) == training
        np.testing.assert_array_equal(other.search(X, 5), index.search(X, 5))
    copies[0].reset()
    assert index.ntotal == 300


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, clone_index, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_of_untrained_indexes(duplicate):
    index = IndexDRQ(D, M, NBITS, faiss.METRIC_INNER_PRODUCT, iterations=2, beam=3, progress=False)
    index.levels = 2
    other = duplicate(index)
    assert not other.is_trained
    assert (other.levels, other.rq.max_beam_size, other.metric_type) == (2, 3, faiss.METRIC_INNER_PRODUCT)
    assert other.rq.search_type == index.rq.search_type
    for trained in (index, other):
        trained.train(make_vectors(100))
        trained.add(make_vectors(100))
    np.testing.assert_array_equal(other.search(X, 5), index.search(X, 5))


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, clone_index, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_keep_a_subclass(duplicate):
    index = make_index()
    index.__class__ = NamedIndex
    assert type(duplicate(index)) is NamedIndex


def test_clone_of_containers_keeps_options():
    inner = make_index(0)
    inner.levels = 2
    outer = faiss.IndexIDMap2(inner)
    outer.add_with_ids(make_vectors(50), np.arange(50) + 100)
    np.testing.assert_array_equal(clone_index(outer).search(X, 5), outer.search(X, 5))


def test_clone_of_an_index_without_drq_is_the_stock_clone():
    flat = faiss.IndexFlatL2(D)
    flat.add(X)
    assert clone_index(flat).ntotal == len(X)
    with pytest.raises(TypeError, match=r"index: got 'flat', expected a faiss\.Index"):
        clone_index("flat")


def test_concurrent_searches_agree():
    index = make_index(2000)
    expected = [
        make_index(2000).search(X, 10, params=SearchParametersDRQ(levels)) for levels in range(1, M + 1)
    ]
    wrong = []

    def search(first):
        for i in range(20):
            levels = (first + i) % M
            found = index.search(X, 10, params=SearchParametersDRQ(levels + 1))
            if not np.array_equal(found, expected[levels]):
                wrong.append(levels + 1)

    threads = [threading.Thread(target=search, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_results_do_not_depend_on_the_number_of_threads():
    index = make_index(3000)
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(1)
        assert plugin.facts()["threads"] == 1
        one = index.search(X, 10)
        faiss.omp_set_num_threads(3)
        assert plugin.facts()["threads"] == 3
        np.testing.assert_array_equal(index.search(X, 10), one)
    finally:
        faiss.omp_set_num_threads(before)


def test_search_parameters_refuse_unknown_names():
    parameters = SearchParametersDRQ()
    with pytest.raises(AttributeError, match="expected levels, sel, refine_levels or refine_factor"):
        parameters.level = 3
