"""Two-stage search of inverted lists, with the plug-in and without."""

import copy
import pickle

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import drqfaiss
from drqfaiss import IndexIVFDRQ, SearchParametersIVFDRQ, adopt, clone_index
from tests import reference
from tests.indexes import make_codebooks
from tests.ivf_indexes import (
    METRICS,
    NLIST,
    D,
    M,
    make_ivf,
    make_quantizer,
    make_vectors,
    stock_copy,
    vectors_by_list,
)
from tests.simd_levels import search_on_all_levels

X = make_vectors(6, seed=1) * 2
LEVELS, REFINE, FACTOR, K, NPROBE = 2, 4, 5, 7, 3
KINDS = [("l2", True), ("l2", False), ("ip", True), ("ip", False)]


def two_stage(**others):
    depth = {"levels": LEVELS, "refine_levels": REFINE, "refine_factor": FACTOR}
    return SearchParametersIVFDRQ(**{**depth, "nprobe": NPROBE, **others})


def one_stage(levels, **others):
    return SearchParametersIVFDRQ(**{"levels": levels, "nprobe": NPROBE, **others})


def expected(index, x, k=K, levels=LEVELS, refine=REFINE, factor=FACTOR, **others):
    """The k nearest by `refine` levels of the k · factor nearest by `levels`, ids and distances (n, k)."""
    total, ip = max(index.ntotal, 1), index.metric_type != faiss.METRIC_L2
    shortlists = index.search(x, min(k * factor, total), params=one_stage(levels, **others))[1]
    whole = index.search(x, total, params=one_stage(refine, **others))
    worst = (-1 if ip else 1) * np.finfo(np.float32).max
    distances, ids = np.full((len(x), k), worst, np.float32), np.full((len(x), k), -1)
    for i, short in enumerate(shortlists):
        here = np.flatnonzero(np.isin(whole[1][i], short[short >= 0]))[:k]  # Sorted, ties by id.
        distances[i, : len(here)], ids[i, : len(here)] = whole[0][i][here], whole[1][i][here]
    return distances, ids


def by_numpy(index, x):
    """The same by NumPy alone, from the bytes that the lists hold."""
    hot, whole = vectors_by_list(index, LEVELS), vectors_by_list(index, REFINE)
    sign, metric = (1, "l2") if index.metric_type == faiss.METRIC_L2 else (-1, "ip")
    found = []
    for query, keys in zip(x, index.quantizer.search(x, NPROBE)[1], strict=True):
        ids, vectors, refined = (
            np.concatenate([of[key][part] for key in keys]) for of, part in ((hot, 0), (hot, 1), (whole, 1))
        )
        first = np.lexsort((ids, sign * reference.distances(query[None], vectors, metric)[0]))[: K * FACTOR]
        distances = sign * reference.distances(query[None], refined[first], metric)[0]
        found.append(ids[first][np.lexsort((ids[first], distances))[:K]])
    return np.array(found)


@pytest.mark.parametrize("blocks", [0, 3])
@pytest.mark.parametrize(("metric", "by_residual"), KINDS)
def test_finds_what_numpy_finds(engine, metric, by_residual, blocks):
    index = make_ivf(400, metric, by_residual, blocks=blocks)
    np.testing.assert_array_equal(index.search(X, K, params=two_stage())[1], by_numpy(index, X))


@settings(max_examples=60, deadline=None)
@given(
    n=st.sampled_from([0, 3, 200, 2000]),
    kind=st.sampled_from(KINDS),
    shape=st.sampled_from([(8, 8, 0), (6, 4, 0), (5, 5, 0), (4, 9, 0), (8, 6, 3)]),
    duplicates=st.booleans(),
    k=st.sampled_from([1, 5, 40]),
    factor=st.sampled_from([1, 3, 20, 2**31 - 1]),
    nprobe=st.integers(1, NLIST),
    selected=st.booleans(),
    data=st.data(),
)
def test_the_same_bits_as_a_search_of_more_levels(
    n, kind, shape, duplicates, k, factor, nprobe, selected, data
):
    index = make_ivf(n, *kind, levels=shape[0], nbits=shape[1], blocks=shape[2])
    if duplicates:
        index.add(np.repeat(make_vectors(3, seed=5), 60, 0))
    levels = data.draw(st.integers(1, shape[0]))
    refine = data.draw(st.integers(levels, shape[0]))
    selector = faiss.IDSelectorRange(10, 150) if selected else None
    arguments = {"nprobe": nprobe, "sel": selector}
    depth = SearchParametersIVFDRQ(levels, refine_levels=refine, refine_factor=factor, **arguments)
    found = search_on_all_levels(lambda: index.search(X, k, params=depth))
    distances, ids = expected(index, X, k, levels, refine, factor, **arguments)
    np.testing.assert_array_equal(found[1], ids)
    np.testing.assert_array_equal(found[0], distances)


@pytest.mark.parametrize(("metric", "by_residual"), KINDS)
def test_any_number_of_queries_and_threads_finds_the_same(metric, by_residual):
    index = make_ivf(3000, metric, by_residual)
    x = make_vectors(600, seed=9) * 2
    D_found, ids = index.search(x, K, params=two_stage())
    threads = faiss.omp_get_max_threads()
    try:
        for count in (1, 2, 3):
            faiss.omp_set_num_threads(count)
            found = index.search(x, K, params=two_stage())
            np.testing.assert_array_equal(found[1], ids)
            np.testing.assert_array_equal(found[0], D_found)
    finally:
        faiss.omp_set_num_threads(threads)
    for i in range(0, 600, 100):
        found = index.search(x[i : i + 1], K, params=two_stage())
        np.testing.assert_array_equal(found[1], ids[i : i + 1])
        np.testing.assert_array_equal(found[0], D_found[i : i + 1])


def test_attributes_stand_for_parameters(engine, tmp_path):
    index = make_ivf(400, nprobe=NPROBE)
    assert (index.levels, index.refine_levels, index.refine_factor) == (0, 0, None)
    ids = by_numpy(index, X)
    index.levels, index.refine_levels, index.refine_factor = LEVELS, REFINE, FACTOR
    np.testing.assert_array_equal(index.search(X, K)[1], ids)
    for other in (clone_index(index), copy.copy(index), pickle.loads(pickle.dumps(index))):
        assert (other.levels, other.refine_levels, other.refine_factor) == (LEVELS, REFINE, FACTOR)
        np.testing.assert_array_equal(other.search(X, K)[1], ids)
    faiss.write_index(index, str(tmp_path / "index"))
    read = drqfaiss.read_index(str(tmp_path / "index"))
    assert read.refine_factor is None  # As `levels`, it is not in FAISS's files.
    read.nprobe = NPROBE
    np.testing.assert_array_equal(read.search(X, K, params=two_stage())[1], ids)
    index.refine_factor = None
    np.testing.assert_array_equal(index.search(X, K)[1], index.search(X, K, params=one_stage(LEVELS))[1])


def test_all_levels_rank_by_default(engine):
    index = make_ivf(400)
    few = SearchParametersIVFDRQ(levels=1, nprobe=NPROBE, refine_factor=400)
    np.testing.assert_array_equal(
        index.search(X, K, params=few)[1], index.search(X, K, params=one_stage(0))[1]
    )


def test_parameters_can_be_copied():
    parameters = two_stage(max_codes=9)
    for other in (copy.copy(parameters), pickle.loads(pickle.dumps(parameters))):
        assert (other.levels, other.refine_levels, other.refine_factor) == (LEVELS, REFINE, FACTOR)
        assert (other.nprobe, other.max_codes) == (NPROBE, 9)
    parameters.refine_factor = None
    assert parameters.refine_factor is None


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("max_codes", [1, 40, 77, 250, 10**6])
def test_max_codes(engine, metric, max_codes):
    index = make_ivf(400, metric)
    found = index.search(X, K, params=two_stage(max_codes=max_codes))
    distances, ids = expected(index, X, max_codes=max_codes)
    np.testing.assert_array_equal(found[1], ids)
    np.testing.assert_allclose(found[0], distances, rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("parallel_mode", [0, 1, 2, 3])
def test_parallel_modes(metric, parallel_mode):
    index = make_ivf(400, metric)
    alone = index.search(X, K, params=two_stage())
    index.parallel_mode = parallel_mode
    found = index.search(X, K, params=two_stage())
    np.testing.assert_array_equal(found[1], alone[1])
    np.testing.assert_array_equal(found[0], alone[0])


def test_selectors(engine):
    index = make_ivf(400)
    selector = faiss.IDSelectorRange(100, 300)
    found = index.search(X, K, params=two_stage(sel=selector))
    assert ((found[1] >= 100) & (found[1] < 300)).all()
    np.testing.assert_array_equal(found[1], expected(index, X, sel=selector)[1])


@pytest.mark.parametrize(("metric", "by_residual"), KINDS)
def test_given_lists(engine, metric, by_residual):
    index = make_ivf(400, metric, by_residual)
    distances, keys = index.quantizer.search(X, NPROBE)
    expected_ids = index.search(X, K, params=two_stage())[1]
    found = index.search_preassigned(X, K, keys, distances, params=two_stage())
    np.testing.assert_array_equal(found[1], expected_ids)
    twice = index.search_preassigned(X, K, keys[:, [0, 1, 1]], distances[:, [0, 1, 1]], params=two_stage())
    once = index.search(X, K, params=two_stage(nprobe=2))
    np.testing.assert_array_equal(twice[1][:, 0], once[1][:, 0])


def test_search_and_reconstruct(engine):
    index = make_ivf(400)
    expected_ids = index.search(X, K, params=two_stage())[1]
    _, ids, vectors = index.search_and_reconstruct(X, K, params=two_stage())
    np.testing.assert_array_equal(ids, expected_ids)
    contents = {id: vector for held in vectors_by_list(index) for id, vector in zip(*held, strict=True)}
    np.testing.assert_allclose(vectors, np.array([[contents[id] for id in row] for row in ids]), atol=1e-5)


def test_range_searches_compare_the_levels_that_are_scanned(engine):
    index = make_ivf(400)
    lims, _, ids = index.range_search(X, 60.0, params=two_stage())
    plain = index.range_search(X, 60.0, params=SearchParametersIVFDRQ(LEVELS, NPROBE))
    assert lims[-1] > 10
    np.testing.assert_array_equal(lims, plain[0])
    np.testing.assert_array_equal(ids, plain[2])


def test_adopted_stock_indexes():
    index = make_ivf(400)
    adopted = adopt(stock_copy(index))
    found, ours = (of.search(X, K, params=two_stage()) for of in (adopted, index))
    np.testing.assert_array_equal(found[1], ours[1])
    np.testing.assert_array_equal(found[0], ours[0])


def filled(container):
    container.add(make_vectors(400, seed=3) * 2)
    return container


def test_inside_other_indexes():
    alone = filled(make_ivf(0))
    expected_ids = alone.search(X, K, params=two_stage())[1]

    mapped = faiss.IndexIDMap(make_ivf(0))
    mapped.add_with_ids(make_vectors(400, seed=3) * 2, np.arange(400) + 1000)
    np.testing.assert_array_equal(mapped.search(X, K, params=two_stage())[1], expected_ids + 1000)

    turned = filled(faiss.IndexPreTransform(faiss.RemapDimensionsTransform(D, D, True), make_ivf(0)))
    parameters = faiss.SearchParametersPreTransform(index_params=two_stage())
    np.testing.assert_array_equal(turned.search(X, K, params=parameters)[1], expected_ids)

    refined = filled(faiss.IndexRefineFlat(make_ivf(0)))
    parameters = faiss.IndexRefineSearchParameters(k_factor=1, base_index_params=two_stage())
    ids = refined.search(X, K, params=parameters)[1]
    np.testing.assert_array_equal(np.sort(ids), np.sort(expected_ids))

    shards = faiss.IndexShards(D, False, True)
    for seed in (3, 4):
        part = make_ivf(0)
        part.add(make_vectors(400, seed=seed) * 2)
        shards.add_shard(part)
    ids = shards.search(X, K, params=two_stage())[1]
    for row, alone in zip(ids, expected_ids, strict=True):  # The first shard's ids are its own.
        assert set(row[row < 400]) <= set(alone)


def test_shards_that_share_the_coarse_search():
    whole, parts = make_ivf(400), []
    shards = faiss.IndexShardsIVF(make_quantizer(), NLIST, False, False)
    for begin in (0, 200):
        part = make_ivf(0)
        part.add_with_ids((make_vectors(400, 0) * 2)[begin : begin + 200], np.arange(begin, begin + 200))
        part.refine_levels, part.refine_factor, part.levels, part.nprobe = REFINE, 400, LEVELS, NPROBE
        parts.append(part)
        shards.add_shard(part)
    ids = shards.search(X, K)[1]
    everything = whole.search(X, K, params=two_stage(refine_factor=400))[1]
    np.testing.assert_array_equal(ids, everything)


def test_a_graph_as_the_coarse_quantizer():
    graph = faiss.IndexHNSWFlat(D, 8)
    graph.add(make_quantizer().reconstruct_n(0, NLIST))
    index = IndexIVFDRQ.from_codebooks(graph, make_codebooks())
    index.add(make_vectors(400) * 2)
    np.testing.assert_array_equal(index.search(X, K, params=two_stage())[1], by_numpy(index, X))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"refine_factor": 0}, "refine_factor: got 0, expected"),
        ({"refine_levels": -1}, "refine_levels: got -1, expected"),
        ({"levels": 3, "refine_levels": 2}, "refine_levels: got 2, expected at least the 3"),
        ({"refine_levels": M + 1}, f"refine_levels: got {M + 1}, expected 0"),
    ],
)
def test_what_cannot_be_is_refused(engine, arguments, message):
    index = make_ivf(50)
    with pytest.raises(ValueError, match=message):
        index.search(X, K, params=two_stage(**arguments))
    with pytest.raises(ValueError, match="refine_levels: got 99, expected 0 to"):
        index.refine_levels = 99
    assert (index.refine_levels, index.refine_factor) == (0, None)
    assert index.search(X, K)[1].shape == (len(X), K)


def limited(**limits):
    parameters = faiss.SearchParametersIVF(nprobe=NPROBE)
    for name, limit in limits.items():
        setattr(parameters, name, limit)
    return parameters


def test_searches_of_faiss_itself_are_refused():
    index = make_ivf(400)
    index.levels, index.refine_factor = LEVELS, FACTOR
    for limit in ("max_lists_num", "max_empty_result_buckets"):
        if hasattr(faiss.SearchParametersIVF, limit):
            with pytest.raises(RuntimeError, match="refine_factor is 5, expected none: searches"):
                index.search(X, K, params=limited(**{limit: 1}))
    index.parallel_mode = index.PARALLEL_MODE_NO_HEAP_INIT
    with pytest.raises(RuntimeError, match="refine_factor is 5, expected none: searches"):
        index.search(X, K)
    index.parallel_mode = 0
    with pytest.raises(RuntimeError, match="refine_factor is 5, expected none: a scanner ranks"):
        index.get_InvertedListScanner(False, None, None)
    index.invlists.use_iterator = True
    with pytest.raises(RuntimeError, match="refine_factor is 5, expected none: searches"):
        index.search(X, K)
    index.refine_factor = None
    assert (index.search(X, K)[1] >= 0).all()


def test_statistics_count_what_is_scanned():
    index = make_ivf(400)
    counts = []
    for parameters in (one_stage(LEVELS), two_stage()):
        faiss.cvar.indexIVF_stats.reset()
        index.search(X, K, params=parameters)
        stats = faiss.cvar.indexIVF_stats
        counts.append((stats.nq, stats.nlist, stats.ndis))
    assert counts[0] == counts[1]
