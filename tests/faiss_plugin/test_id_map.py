"""Range searches through IndexIDMap with search parameters, in every FAISS."""

import functools
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss._indexes.nested import as_drq
from tests.indexes import METRICS

D, N, NPROBE = 8, 400, 3
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
IDS = np.random.default_rng(1).permutation(N) + 1000
RADIUS = {"l2": 6.0, "ip": 2.0}
INNER = ("DRQ4x4", "IVF8,DRQ4x4", "OPQ4_8,DRQ4x4", "OPQ4_8,IVF8,DRQ4x4")
SELECTED = [int(i) for i in IDS[: N // 3]]
BITMAP = np.packbits(np.isin(np.arange(2000), SELECTED), bitorder="little")
SELECTORS = {
    "none": (lambda: None, set(range(2000))),
    "range": (lambda: faiss.IDSelectorRange(1100, 1300), set(range(1100, 1300))),
    "batch": (lambda: faiss.IDSelectorBatch(SELECTED), set(SELECTED)),
    "array": (lambda: faiss.IDSelectorArray(SELECTED), set(SELECTED)),
    "bitmap": (lambda: faiss.IDSelectorBitmap(BITMAP), set(SELECTED)),
    "not": (
        lambda: faiss.IDSelectorNot(faiss.IDSelectorRange(1100, 1300)),
        {*range(1100), *range(1300, 2000)},
    ),
}


@functools.cache
def trained(inner, metric):
    index = drqfaiss.index_factory(D, inner, METRICS[metric], progress=False, iterations=1)
    index.train(X)
    return index


def make_index(inner, metric, kind=faiss.IndexIDMap2):
    index = drqfaiss.clone_index(trained(inner, metric))
    outer = kind(index)
    outer.add_with_ids(X, IDS)
    return index, outer


def make_parameters(inner, levels, sel):
    if "IVF" in inner:
        return drqfaiss.SearchParametersIVFDRQ(levels=levels, nprobe=NPROBE, sel=sel)
    return drqfaiss.SearchParametersDRQ(levels=levels, sel=sel)


def in_range(index, radius, params):
    """Return the pairs found for each query with their distances."""
    lims, distances, ids = index.range_search(X[:6], radius, params=params)
    query = np.repeat(np.arange(6), np.diff(lims).astype(int))
    order = np.lexsort((ids, query))
    return query[order], ids[order], distances[order]


@pytest.mark.parametrize("levels", [0, 1, 3])
@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("inner", INNER)
def test_parameters_arrive(inner, metric, selector, levels):
    make, members = SELECTORS[selector]
    index, outer = make_index(inner, metric)
    rows = np.flatnonzero(np.isin(IDS, list(members)))
    params = make_parameters(inner, levels, sel := make())
    found = in_range(outer, RADIUS[metric], params)
    query, expected, distances = in_range(
        index, RADIUS[metric], make_parameters(inner, levels, faiss.IDSelectorBatch(rows))
    )
    order = np.lexsort((IDS[expected], query))
    assert len(expected) > 20
    assert np.array_equal(found[0], query)
    assert np.array_equal(found[1], IDS[expected][order])
    assert np.array_equal(found[2], distances[order])
    assert (params.levels, params.sel) == (levels, sel)


@pytest.mark.parametrize("kind", [faiss.IndexIDMap, faiss.IndexIDMap2])
@pytest.mark.parametrize("inner", ["DRQ4x4", "IVF8,DRQ4x4"])
def test_levels_change_what_is_found(inner, kind):
    index, outer = make_index(inner, "l2", kind)
    every = faiss.IDSelectorRange(0, 2000)
    for sel in (None, every):
        counts = [len(in_range(outer, 6.0, make_parameters(inner, n, sel))[1]) for n in (1, 2, 3, 4)]
        assert len(set(counts)) == 4
        as_drq(index).levels = 2
        assert len(in_range(outer, 6.0, make_parameters(inner, 0, sel))[1]) == counts[1]
        with pytest.raises(RuntimeError, match="levels is 5, expected 0"):
            outer.range_search(X[:1], 6.0, params=make_parameters(inner, 5, sel))
        as_drq(index).levels = 0


def test_a_map_inside_of_a_transform_hands_levels_on():
    outer = make_index("DRQ4x4", "l2")[1]
    chain = faiss.IndexPreTransform(outer)
    for sel in (None, faiss.IDSelectorBatch(SELECTED)):
        params = make_parameters("", 2, sel)
        assert all(map(np.array_equal, in_range(chain, 6.0, params), in_range(outer, 6.0, params)))


def test_faiss_own_parameters_and_indexes_work_as_well():
    outer = make_index("IVF8,DRQ4x4", "l2")[1]
    params = faiss.SearchParametersIVF(nprobe=NPROBE)
    expected = in_range(outer, 6.0, make_parameters("IVF8,DRQ4x4", 0, None))
    assert all(map(np.array_equal, in_range(outer, 6.0, params), expected))
    flat = faiss.IndexIDMap2(faiss.IndexFlatL2(D))
    flat.add_with_ids(X, IDS)
    everything = in_range(flat, 6.0, None)
    assert all(map(np.array_equal, in_range(flat, 6.0, faiss.SearchParameters()), everything))
    chosen = in_range(flat, 6.0, faiss.SearchParameters(sel=faiss.IDSelectorBatch(SELECTED)))
    assert np.array_equal(chosen[1], everything[1][np.isin(everything[1], SELECTED)])


def test_selectors_of_rows_that_tell_ids_are_left_alone():
    outer = make_index("DRQ4x4", "l2")[1]
    by_ids = faiss.IDSelectorBatch(SELECTED)
    translated = faiss.IDSelectorTranslated(outer.id_map, by_ids)
    expected = in_range(outer, 6.0, make_parameters("", 2, by_ids))
    assert all(map(np.array_equal, in_range(outer, 6.0, make_parameters("", 2, translated)), expected))


def test_threads_share_parameters():
    outer = make_index("DRQ4x4", "l2")[1]
    params = make_parameters("", 2, None)  # FAISS's own functions write to those with a selector
    expected = in_range(outer, 6.0, params)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: in_range(outer, 6.0, params), range(200)):
            assert all(map(np.array_equal, found, expected))
