"""Indexes without the plug-in: the same results, through Python."""

import copy
import os
import pickle
import subprocess
import sys
import warnings

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss._indexes.engines import FLAT, IN_FAISS, LISTS, engine_of
from drqfaiss._plugin import available
from tests import ivf_indexes
from tests.indexes import METRICS, assert_searches_right, make_index, make_vectors, reconstructions
from tests.ivf_indexes import make_ivf

X = make_vectors(6, seed=1)


def test_the_plugin_is_used_where_it_can_be():
    assert engine_of(make_index(0)) is engine_of(make_ivf(0)) is IN_FAISS


def test_capabilities_are_asked_one_by_one(monkeypatch):
    monkeypatch.setattr(available, "has", lambda capability: capability == "flat")
    monkeypatch.setattr(available, "_warn", lambda reason: None)
    flat, ivf = make_index(0), make_ivf(0)
    assert engine_of(flat) is IN_FAISS
    assert engine_of(ivf) is LISTS
    assert type(ivf) is drqfaiss.IndexIVFDRQ


@pytest.mark.usefixtures("without_plugin")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("levels", [0, 1, 3])
def test_flat_search(metric, levels):
    index = make_index(400, metric)
    assert engine_of(index) is FLAT
    params = drqfaiss.SearchParametersDRQ(levels)
    assert_searches_right(index, X, levels=levels, params=params)
    index.levels = levels
    assert index.levels == levels
    assert_searches_right(index, X, levels=levels)
    index.pack()
    assert index.packed
    assert_searches_right(index, X, levels=levels)


@pytest.mark.usefixtures("without_plugin")
def test_flat_selector():
    index = make_index(400)
    params = drqfaiss.SearchParametersDRQ(sel=faiss.IDSelectorBatch(np.arange(10, 30)))
    ids = index.search(X, 25, params=params)[1]
    assert {tuple(sorted(row)) for row in ids.tolist()} == {(-1,) * 5 + tuple(range(10, 30))}


@pytest.mark.usefixtures("without_plugin")
def test_changes_are_seen():
    index = make_index(300)
    index.search(X, 3)
    assert index.remove_ids(np.arange(5, 50)) == 45
    index.add(make_vectors(100, seed=7))
    index.permute_entries(np.arange(index.ntotal)[::-1].copy())
    assert_searches_right(index, X)
    copies = [pickle.loads(pickle.dumps(index)), copy.deepcopy(index), drqfaiss.clone_index(index)]
    for other in copies:
        assert type(other) is drqfaiss.IndexDRQ
        np.testing.assert_array_equal(other.search(X, 5)[1], index.search(X, 5)[1])


@pytest.mark.usefixtures("without_plugin")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("by_residual", [True, False])
@pytest.mark.parametrize("levels", [0, 2])
def test_ivf_search(metric, by_residual, levels):
    index = make_ivf(400, metric, by_residual)
    assert engine_of(index) is LISTS
    params = drqfaiss.SearchParametersIVFDRQ(levels, nprobe=5)
    ivf_indexes.assert_searches_right(index, X, levels=levels, nprobe=5, params=params)
    odd = drqfaiss.SearchParametersIVFDRQ(levels, 5, faiss.IDSelectorBatch(np.arange(1, 400, 2)))
    ivf_indexes.assert_searches_right(
        index, X, levels=levels, nprobe=5, params=odd, selected=lambda ids: ids % 2 == 1
    )


def by_id(ranges):
    """What a range search returns, the results of each query by id."""
    lims, D, ids = ranges
    order = np.lexsort((ids, np.repeat(np.arange(len(lims) - 1), np.diff(lims.astype(int)))))
    return lims, D[order], ids[order]


def everything(metric, by_residual):
    """What an IVF index and a flat one return, whoever does the work."""
    index, flat = make_ivf(500, metric, by_residual, nprobe=4), make_index(300, metric)
    limited = drqfaiss.SearchParametersIVFDRQ(2, nprobe=6, max_codes=90)
    thresh = 20.0 if metric == "l2" else 3.0
    return [
        *index.search(X, 8),
        index.search(X, 8, params=limited)[0],  # of equal codes FAISS finds any first
        *by_id(index.range_search(X, thresh)),
        *by_id(index.range_search(X, thresh, params=limited)),
        *index.search_and_reconstruct(X, 12),
        index.assign(X, 3),
        index.sa_encode(X),
        *flat.range_search(X, thresh),
        *flat.search_and_reconstruct(X, 5),
        flat.sa_encode(X),
        flat.sa_decode(flat.sa_encode(X)),
    ]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("by_residual", [True, False])
def test_everything_is_the_same(metric, by_residual, request):
    expected = everything(metric, by_residual)
    request.getfixturevalue("without_plugin")
    for found, right in zip(everything(metric, by_residual), expected, strict=True):
        assert found.shape == right.shape
        if found.dtype.kind == "f":
            np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)
        else:
            np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(
    "make",
    [
        lambda: drqfaiss.index_factory(16, "DRQ3x5", progress=False, seed=1),
        lambda: drqfaiss.index_factory(16, "IVF8,DRQ3x5", progress=False, seed=1),
    ],
)
def test_training_is_the_same(make, request):
    x = make_vectors(600)
    expected = make()
    expected.train(x)
    request.getfixturevalue("without_plugin")
    index = make()
    index.train(x)
    codebooks = [faiss.vector_to_array(i.rq.codebooks) for i in (index, expected)]
    np.testing.assert_allclose(*codebooks, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("without_plugin")
@pytest.mark.parametrize("metric", METRICS)
def test_containers_search_as_faiss_does(metric):
    index = make_index(0, metric)
    outer = faiss.IndexIDMap2(index)
    outer.add_with_ids(make_vectors(300), np.arange(300))
    found, expected = outer.search(X, 5), index.search(X, 5)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("without_plugin")
def test_adopted_and_read_indexes(tmp_path):
    stock = faiss.IndexResidualQuantizer(16, 3, 5)
    stock.train(make_vectors(500))
    stock.add(make_vectors(200))
    expected = stock.search(X, 4)[1]
    faiss.write_index(stock, str(tmp_path / "stock"))
    for index in (drqfaiss.adopt(stock), drqfaiss.read_index(tmp_path / "stock")):
        assert type(index) is drqfaiss.IndexDRQ
        np.testing.assert_array_equal(index.search(X, 4)[1], expected)
        assert_levels_count(index)


def assert_levels_count(index):
    two = drqfaiss.SearchParametersDRQ(levels=2)
    D, ids = index.search(X, 1, params=two)
    near = ((X - reconstructions(index, 2)[ids[:, 0]]) ** 2).sum(1)
    np.testing.assert_allclose(D[:, 0], near, rtol=1e-4)


@pytest.mark.usefixtures("without_plugin")
def test_what_cannot_be_adopted():
    l1 = faiss.IndexResidualQuantizer(8, 2, 4)
    l1.metric_type = faiss.METRIC_L1
    with pytest.raises(ValueError, match="its metric_type is 2, expected METRIC_L2"):
        drqfaiss.adopt(l1)
    mixed = faiss.IndexIVFResidualQuantizer(faiss.IndexFlatIP(8), 8, 2, 2, 4, faiss.METRIC_L2)
    with pytest.raises(ValueError, match="coarse quantizer has metric_type 0, expected its own, 1"):
        drqfaiss.adopt(mixed)


def test_one_warning_says_what_is_slower():
    code = "import drqfaiss; a = drqfaiss.IndexDRQ(8, 2, 4); b = drqfaiss.IndexDRQ(8, 2, 4)"
    environment = {**os.environ, "DRQFAISS_PLUGIN": "off"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert done.stderr.count("RuntimeWarning") == 1
    assert "slower in inverted lists, and inside other indexes" in done.stderr


def test_info_names_the_reason(monkeypatch):
    monkeypatch.setattr(
        available, "_facts", lambda: {"capabilities": ("flat",), "refused": {"ivf_lists": "no"}}
    )
    info = drqfaiss.plugin_info()
    assert info["capabilities"]["flat"] == ""
    assert info["capabilities"]["ivf_lists"] == "no"
    assert info["capabilities"]["ivf_scanner"] == "FAISS lacks what it needs"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert not available.require_or_warn("ivf_lists")
        assert not available.require_or_warn("ivf_lists")
    assert [str(w.message).startswith("no Indexes search through Python") for w in caught] == [True]
