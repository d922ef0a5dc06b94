"""Residual quantizer indexes inside every FAISS index that can hold one."""

import re

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss._indexes.nested import residual_quantizers
from drqfaiss._indexes.settings import drq_indexes
from tests.indexes import METRICS

D, M, NBITS, LISTS = 16, 4, 4, 8
X = np.random.default_rng(0).normal(size=(600, D)).astype("f4")
SEARCH_TYPES = [
    faiss.AdditiveQuantizer.ST_decompress,
    faiss.AdditiveQuantizer.ST_LUT_nonorm,
    faiss.AdditiveQuantizer.ST_norm_from_LUT,
    faiss.AdditiveQuantizer.ST_norm_float,
    faiss.AdditiveQuantizer.ST_norm_qint8,
]


def make_stock(metric="l2", search_type=faiss.AdditiveQuantizer.ST_decompress):
    index = faiss.IndexResidualQuantizer(D, M, NBITS, METRICS[metric], search_type)
    index.train(X)
    return index


def over(stock):
    """Return containers of the index by name."""
    lists = faiss.IndexIVFFlat(stock, D, LISTS)
    return {
        "IDMap": faiss.IndexIDMap(stock),
        "IDMap2": faiss.IndexIDMap2(stock),
        "PreTransform": faiss.IndexPreTransform(stock),
        "RowwiseMinMax": faiss.IndexRowwiseMinMax(stock),
        "RowwiseMinMaxFP16": faiss.IndexRowwiseMinMaxFP16(stock),
        "Refine": faiss.IndexRefine(stock, faiss.IndexFlatL2(D)),
        "RefineFlat": faiss.IndexRefineFlat(stock),
        "refining": faiss.IndexRefine(faiss.IndexFlatL2(D), stock),
        "HNSW": faiss.IndexHNSW(stock, 8),
        "NSG": faiss.IndexNSG(stock, 8),
        "NNDescent": faiss.IndexNNDescent(stock, 8),
        "coarse quantizer": lists,
        "map of a graph": faiss.IndexIDMap(faiss.IndexHNSW(stock, 8)),
        "first layer": faiss.Index2Layer(stock, LISTS, 4),
    }


INNER = ("HNSW", "NSG", "NNDescent", "coarse quantizer", "map of a graph", "first layer")


@pytest.mark.parametrize("name", over(make_stock()))
def test_adopt_finds_the_index(name):
    stock = make_stock()
    container = over(stock)[name]
    assert [int(found.this) for found in residual_quantizers(container)] == [int(stock.this)]
    assert drqfaiss.adopt(container) is container
    assert type(drqfaiss.adopt(stock)) is drqfaiss.IndexDRQ
    assert len(drq_indexes(container)) == (name not in INNER)  # levels of searches go no further


def test_adopt_finds_shards_and_replicas():
    for kind in (faiss.IndexShards, faiss.IndexReplicas):
        parts = [make_stock(), make_stock()]
        container = kind(D)
        for part in parts:
            container.add_shard(part) if kind is faiss.IndexShards else container.add_replica(part)
        drqfaiss.adopt(container)
        assert [type(drqfaiss.adopt(part)) for part in parts] == [drqfaiss.IndexDRQ] * 2


def why_no_graph_is_written():
    """Return what FAISS raises when it is to write a graph over any index, as up to 1.14.3."""
    graph = faiss.IndexHNSW(faiss.IndexFlatL2(D), 12)
    graph.add(X)
    try:
        faiss.serialize_index(graph)
    except RuntimeError as error:
        return re.escape(str(error).partition("Error: ")[2])
    return None


@pytest.mark.parametrize("metric", METRICS)
def test_graphs_work_after_reading_as_before_writing(tmp_path, metric):
    storage = drqfaiss.IndexDRQ(D, M, NBITS, METRICS[metric], progress=False)
    storage.train(X)
    graph = faiss.IndexHNSW(storage, 12)  # FAISS writes no other graph over it
    graph.add(X)
    expected = graph.search(X[:20], 5)
    path = str(tmp_path / "graph.faiss")
    if error := why_no_graph_is_written():
        with pytest.raises(RuntimeError, match=error):
            drqfaiss.write_index(graph, path)
        assert not [*tmp_path.iterdir()]
        graph = drqfaiss.clone_index(graph)
        assert all(map(np.array_equal, graph.search(X[:20], 5), expected))
        return
    drqfaiss.write_index(graph, path)
    again = drqfaiss.read_index(path)
    assert all(map(np.array_equal, again.search(X[:20], 5), expected))
    again.add(X[:50])
    assert again.ntotal == len(X) + 50


@pytest.mark.parametrize("search_type", SEARCH_TYPES)
@pytest.mark.parametrize("metric", METRICS)
def test_distance_computers_give_the_distances_of_reconstructions(metric, search_type):
    index = drqfaiss.adopt(make_stock(metric, search_type))
    index.add(X)
    vectors = index.reconstruct_n(0, len(X))
    computer = index.get_distance_computer()
    sign = 1 if metric == "l2" else -1
    compare = (lambda a, b: ((a - b) ** 2).sum()) if metric == "l2" else np.dot
    computer.set_query(faiss.swig_ptr(X[3]))
    tolerance = 1e-4 if search_type != faiss.AdditiveQuantizer.ST_norm_qint8 else 0.2
    for i, j in ((0, 1), (5, 5), (17, 99)):
        assert computer(i) == pytest.approx(compare(X[3], vectors[i]), abs=10 * tolerance)
        assert computer.symmetric_dis(i, j) == pytest.approx(compare(vectors[i], vectors[j]), abs=1e-3)
    assert sign * computer.symmetric_dis(5, 5) <= sign * computer.symmetric_dis(5, 6) or metric == "ip"


@pytest.mark.parametrize("search_type", SEARCH_TYPES)
def test_graphs_over_inner_products_find_the_largest_of_decoded_vectors(search_type):
    index = drqfaiss.adopt(make_stock("ip", search_type))
    graph = faiss.IndexHNSW(index, 12)
    graph.hnsw.efSearch = 200
    graph.add(X)
    largest = -np.sort(-X[:50] @ index.reconstruct_n(0, len(X)).T, axis=1)[:, :5]
    found, ids = graph.search(X[:50], 5)
    assert np.mean(np.isclose(found, largest, rtol=0, atol=1e-3)) > 0.99
    exact = (X[:50, None] * index.reconstruct_batch(ids.ravel()).reshape(50, 5, D)).sum(2)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-3)


def test_search_and_reconstruct_passes_parameters_to_the_coarse_quantizer():
    index = drqfaiss.index_factory(D, "IVF32_HNSW4,DRQ3x4", progress=False)
    index.train(np.tile(X, (3, 1)))
    index.add(X)
    narrow = faiss.SearchParametersHNSW(efSearch=1)
    params = drqfaiss.SearchParametersIVFDRQ(nprobe=4, quantizer_params=narrow)
    found = index.search(X[:100], 5, params=params)
    rebuilt = index.search_and_reconstruct(X[:100], 5, params=params)
    assert all(map(np.array_equal, rebuilt[:2], found))
    index.make_direct_map()
    for i, j in ((0, 0), (50, 3)):
        assert np.array_equal(rebuilt[2][i, j], index.reconstruct(int(found[1][i, j])))
    alone = index.search_and_reconstruct(X[:1], 700)  # more than the probed lists hold
    assert (alone[1] == -1).any() and np.isnan(alone[2][alone[1] == -1]).all()


@pytest.mark.parametrize("description", ["IVF0,DRQ2x4", "IDMap,IVF0,DRQ2x4", "IVF0_HNSW32,DRQ2x4"])
def test_the_factory_refuses_no_lists(description):
    with pytest.raises(ValueError, match=r"lists of 'IVF0': got 0, expected at least 1"):
        drqfaiss.index_factory(D, description)
