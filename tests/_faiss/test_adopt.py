"""adopt: stock indexes become fast ones in place, wherever they are."""

import faiss
import numpy as np
import pytest

from drqfaiss import IndexDRQ, SearchParametersDRQ, adopt
from drqfaiss._core import plugin
from drqfaiss._plugin.layout import address
from tests import reference
from tests.indexes import (
    METRICS,
    NBITS,
    D,
    M,
    assert_searches_right,
    make_index,
    make_vectors,
    reconstructions,
)

X = make_vectors(7, seed=1)
BASE = make_vectors(400)


def make_stock(metric="l2", search_type=faiss.AdditiveQuantizer.ST_decompress):
    """A trained, empty index of plain FAISS; training is deterministic."""
    index = faiss.IndexResidualQuantizer(D, M, NBITS, METRICS[metric], search_type)
    index.train(BASE)
    return index


@pytest.mark.parametrize("metric", METRICS)
def test_adopted_index_finds_what_it_found_before(metric):
    index = make_stock(metric)
    index.add(BASE)
    before = index.search(X, 10)
    adopted = adopt(index)
    assert adopted is index
    assert type(index) is IndexDRQ
    reference.assert_neighbours(index.search(X, 10), before, scale=100)
    assert_searches_right(index, X, levels=2, params=SearchParametersDRQ(2))


SEARCH_TYPES = [
    "decompress",
    "LUT_nonorm",
    "norm_from_LUT",
    "norm_float",
    "norm_qint8",
    "norm_cqint8",
    "norm_cqint4",
]


@pytest.mark.parametrize("search_type", SEARCH_TYPES)
def test_every_search_type_gives_exact_distances(search_type):
    index = make_stock(search_type=getattr(faiss.AdditiveQuantizer, f"ST_{search_type}"))
    index.add(BASE)
    adopt(index)
    index.add(BASE[:50])
    assert_searches_right(index, X)


def test_levels_of_different_widths():
    widths = faiss.UInt64Vector()
    faiss.copy_array_to_vector(np.array([6, 3, 5], np.uint64), widths)
    index = faiss.IndexResidualQuantizer(D, widths, faiss.METRIC_L2)
    index.train(BASE)
    index.add(BASE)
    before = index.search(X, 10)
    reference.assert_neighbours(adopt(index).search(X, 10), before, scale=100)


def test_adopting_again_keeps_options_and_drops_caches():
    index = make_index()
    index.levels = 2
    training = plugin.training(address(index))
    index.search(X, 3)
    assert plugin.cached_norms(address(index)) == {2: (300, 1200)}
    assert adopt(index) is index
    assert plugin.cached_norms(address(index)) == {}
    assert (index.levels, plugin.training(address(index))) == (2, training)
    assert_searches_right(index, X, levels=2)


def test_id_map():
    inner = make_stock()
    outer = faiss.IndexIDMap2(inner)
    outer.add_with_ids(BASE, np.arange(400) + 1000)
    before = outer.search(X, 5)
    assert adopt(outer) is outer
    assert isinstance(outer, faiss.IndexIDMap2)
    reference.assert_neighbours(outer.search(X, 5), before, scale=100)
    expected = reference.nearest(X, reconstructions(inner, 2), 5, "l2")
    D_found, ids = outer.search(X, 5, params=SearchParametersDRQ(2))
    reference.assert_neighbours((D_found, ids - 1000), expected, scale=100)
    selected = outer.search(X, 5, params=SearchParametersDRQ(2, faiss.IDSelectorRange(1000, 1100)))[1]
    assert selected.min() >= 1000 and selected.max() < 1100
    assert outer.remove_ids(np.array([1000, 1001, 5])) == 2
    assert outer.ntotal == 398
    assert 1000 not in outer.search(BASE[:1], 398)[1]
    np.testing.assert_array_equal(outer.reconstruct(1399), inner.reconstruct(397))


def test_index_inside_an_id_map_has_levels():
    outer = adopt(faiss.IndexIDMap2(make_stock()))
    outer.add_with_ids(BASE, np.arange(400))
    inner = adopt(outer.index)
    assert type(inner) is IndexDRQ
    inner.levels = 1
    np.testing.assert_array_equal(outer.search(X, 5), inner.search(X, 5, params=SearchParametersDRQ(1)))


def test_pre_transform():
    rotation = faiss.RandomRotationMatrix(D, D)
    inner = make_stock()
    outer = faiss.IndexPreTransform(rotation, inner)
    outer.train(BASE)
    outer.add(BASE)
    before = outer.search(X, 5)
    adopt(outer)
    reference.assert_neighbours(outer.search(X, 5), before, scale=100)
    wrapped = faiss.SearchParametersPreTransform(index_params=SearchParametersDRQ(2))
    expected = reference.nearest(rotation.apply(X), reconstructions(inner, 2), 5, "l2")
    reference.assert_neighbours(outer.search(X, 5, params=wrapped), expected, scale=100)


def test_refine():
    outer = adopt(faiss.IndexRefineFlat(make_stock()))
    outer.add(BASE)
    outer.k_factor = 400
    flat = faiss.IndexFlatL2(D)
    flat.add(BASE)
    for levels in (1, M):
        parameters = faiss.IndexRefineSearchParameters(
            k_factor=400, base_index_params=SearchParametersDRQ(levels)
        )
        np.testing.assert_array_equal(outer.search(X, 3, params=parameters)[1], flat.search(X, 3)[1])


def test_refine_with_a_second_quantizer():
    fine = make_index(0)
    outer = faiss.IndexRefine(make_stock(), fine)
    outer.add(BASE)
    outer.k_factor = 400
    adopt(outer)
    np.testing.assert_array_equal(outer.search(X, 3)[1], fine.search(X, 3)[1])


@pytest.mark.parametrize("threaded", [False, True])
def test_shards(threaded):
    outer = faiss.IndexShards(D, threaded, True)
    parts = [make_stock() for _ in range(3)]
    for part in parts:
        outer.add_shard(part)
    outer.add(BASE)
    before = outer.search(X, 5)
    adopt(outer)
    assert all(plugin.is_adopted(address(part)) for part in parts)
    reference.assert_neighbours(outer.search(X, 5), before, scale=100)
    whole = make_stock()
    whole.add(BASE)
    expected = reference.nearest(X, reconstructions(whole, 2), 5, "l2")
    reference.assert_neighbours(outer.search(X, 5, params=SearchParametersDRQ(2)), expected, scale=100)


def test_replicas():
    outer = faiss.IndexReplicas(D, True)
    parts = [make_index(), make_index()]
    for part in parts:
        outer.add_replica(part)
    np.testing.assert_array_equal(adopt(outer).search(X, 5), parts[0].search(X, 5))


def test_nested_containers():
    outer = faiss.IndexIDMap(faiss.IndexPreTransform(faiss.RandomRotationMatrix(D, D), make_stock()))
    adopt(outer)
    inner = faiss.downcast_index(faiss.downcast_index(outer.index).index)
    assert plugin.is_adopted(address(inner))


@pytest.mark.parametrize(
    "index",
    [
        faiss.IndexFlatL2(D),
        faiss.IndexPQ(D, 4, 4),
        faiss.IndexIDMap(faiss.IndexFlatL2(D)),
        faiss.IndexLocalSearchQuantizer(D, M, NBITS),
    ],
    ids=lambda index: type(index).__name__,
)
def test_nothing_to_adopt(index):
    with pytest.raises(TypeError, match=f"index: got {type(index).__name__} without a residual quantizer"):
        adopt(index)


def test_not_an_index():
    with pytest.raises(TypeError, match=r"index: got 3, expected a faiss\.Index"):
        adopt(3)


def test_shapes_that_cannot_be_searched_are_left_alone():
    good, other_metric = make_stock(), make_stock()
    wide = faiss.IndexResidualQuantizer(D, 1, 17)
    outer = {"expected 1 to 16": faiss.IndexRefine(good, wide)}
    outer["expected METRIC_L2"] = faiss.IndexRefine(good, other_metric)
    other_metric.metric_type = faiss.METRIC_L1
    for message, index in outer.items():
        with pytest.raises(ValueError, match=message):
            adopt(index.refine_index)
        with pytest.raises(ValueError, match=message):
            adopt(index)
        assert not plugin.is_adopted(address(good))
