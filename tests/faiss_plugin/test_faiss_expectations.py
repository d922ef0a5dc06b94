"""What FAISS's own tests expect of residual quantizer indexes holds for ours, with 4, 6 and 8 bits."""

import functools
import pickle

import faiss
import numpy as np
import pytest
from faiss.contrib.datasets import SyntheticDataset

import drqfaiss
from drqfaiss import IndexDRQ, IndexIVFDRQ, SearchParametersDRQ, SearchParametersIVFDRQ
from tests import reference
from tests.indexes import METRICS

DATA = SyntheticDataset(24, 1000, 400, 100)
TRAIN, BASE, X = DATA.get_train(), DATA.get_database(), DATA.get_queries()[:15]
D, M, K, NLIST = DATA.d, 4, 10, 5

KINDS = pytest.mark.parametrize("kind", ["flat", "ivf"])
WIDTHS = pytest.mark.parametrize("nbits", [4, 6, 8])
METRIC = pytest.mark.parametrize("metric", METRICS)


@functools.cache
def trained(nbits, metric, kind):
    training = {"iterations": 3, "progress": False}
    if kind == "flat":
        index = IndexDRQ(D, M, nbits, METRICS[metric], **training)
    else:
        lists = faiss.IndexFlat(D, METRICS[metric])
        index = IndexIVFDRQ(lists, D, NLIST, M, nbits, METRICS[metric], **training)
        index.nprobe = NLIST
    index.train(TRAIN)
    return index


def make_empty(nbits, metric="l2", kind="flat"):
    return drqfaiss.clone_index(trained(nbits, metric, kind))


def make_filled(nbits, metric="l2", kind="flat"):
    index = make_empty(nbits, metric, kind)
    index.add(BASE)
    return index


def codebooks_of(index):
    return faiss.vector_to_array(index.rq.codebooks).reshape(index.rq.M, -1, index.d)


def decoded(index):
    """The vectors that BASE's codes stand for."""
    return index.sa_decode(index.sa_encode(BASE))


def assert_finds(index, stored, metric):
    """The index finds what brute force finds in the vectors, which FAISS decoded."""
    scale = 4 * float(np.abs(stored).max() * D) ** 2
    reference.assert_neighbours(index.search(X, K), reference.nearest(X, stored, K, metric), scale)


# Codecs, files, copies


@KINDS
@WIDTHS
def test_codes_survive_a_file(nbits, kind, tmp_path):
    index = make_empty(nbits, kind=kind)
    codes = index.sa_encode(BASE)
    list_number = 1 if kind == "ivf" else 0
    assert codes.shape == (len(BASE), list_number + (M * nbits + 7) // 8)
    assert codes.shape[1] == index.sa_code_size()
    faiss.write_index(index, str(tmp_path / "x.faiss"))
    for back in (faiss.read_index(str(tmp_path / "x.faiss")), drqfaiss.read_index(tmp_path / "x.faiss")):
        np.testing.assert_array_equal(back.sa_encode(BASE[:50]), codes[:50])
        np.testing.assert_array_equal(back.sa_decode(codes), index.sa_decode(codes))


@WIDTHS
def test_standalone_codec(nbits):
    """Codes are those of the index's quantizer and stand for vectors much nearer than the mean."""
    index = make_filled(nbits)
    codes = index.sa_encode(BASE)
    np.testing.assert_array_equal(faiss.vector_to_array(index.codes).reshape(codes.shape), codes)
    np.testing.assert_allclose(index.rq.decode(codes), index.sa_decode(codes), atol=1e-5)
    np.testing.assert_array_equal(index.reconstruct_n(0, len(BASE)), index.sa_decode(codes))
    error = ((BASE - index.sa_decode(codes)) ** 2).sum()
    stock_error = ((BASE - index.rq.decode(index.rq.compute_codes(BASE))) ** 2).sum()
    assert error == pytest.approx(stock_error, rel=1e-3)
    assert error < 0.6 * ((BASE - TRAIN.mean(0)) ** 2).sum()


@KINDS
@WIDTHS
def test_wider_beams_lower_the_error(nbits, kind):
    index = make_empty(nbits, kind=kind)
    errors = []
    for index.rq.max_beam_size in (1, 4, 16):
        errors.append(((BASE - decoded(index)) ** 2).sum())
    assert errors[0] > errors[1] > errors[2]


@KINDS
@METRIC
@WIDTHS
def test_copies_search_alike(nbits, metric, kind):
    index = make_filled(nbits, metric, kind)
    expected = index.search(X, K)
    copies = [pickle.loads(pickle.dumps(index)), drqfaiss.clone_index(index), faiss.clone_index(index)]
    del index
    for copy in copies:
        reference.assert_neighbours(copy.search(X, K), expected, scale=100)
        copy.add(BASE[:10])
        assert copy.ntotal == len(BASE) + 10


@pytest.mark.parametrize("before", ["", "IVF5,"])
@WIDTHS
def test_factory(before, nbits):
    index = drqfaiss.index_factory(D, f"{before}DRQ3x{nbits}", progress=False)
    assert type(index) is (IndexIVFDRQ if before else IndexDRQ)
    np.testing.assert_array_equal(faiss.vector_to_array(index.rq.nbits), [nbits] * 3)
    assert index.rq.norm_bits == 0
    assert index.code_size == (3 * nbits + 7) // 8


# Search


@KINDS
@METRIC
@WIDTHS
def test_search_is_that_of_the_decoded_vectors(nbits, metric, kind):
    index = make_filled(nbits, metric, kind)
    assert_finds(index, decoded(index), metric)


@KINDS
@pytest.mark.parametrize("nbits, least", [(4, 0.45), (6, 0.65), (8, 0.8)])
def test_recall(nbits, least, kind):
    ids = make_filled(nbits, kind=kind).search(DATA.get_queries(), K)[1]
    recall = (ids == DATA.get_groundtruth()[:, :1]).any(1).mean()
    assert recall > least


NORMS = ["norm_float", "norm_from_LUT", "norm_qint8", "norm_cqint8"]


@pytest.mark.parametrize("search_type", NORMS)
@WIDTHS
def test_kind_of_norm_does_not_change_the_search(nbits, search_type):
    """Ours has exact norms however the index stores them; FAISS's own norms agree where they are exact."""
    number = getattr(faiss.AdditiveQuantizer, f"ST_{search_type}")
    index = faiss.IndexResidualQuantizer(D, M, nbits, faiss.METRIC_L2, number)
    index.rq.train_type = faiss.ResidualQuantizer.Train_default
    index.train(TRAIN)
    index.add(BASE)
    before = index.search(X, K)
    drqfaiss.adopt(index)
    assert_finds(index, decoded(index), "l2")
    if search_type in ("norm_float", "norm_from_LUT"):
        reference.assert_neighbours(index.search(X, K), before, scale=1000)


@pytest.mark.parametrize("nbits, coarse, fine", [(4, "256(RCQ2x4)", "RQ2x4"), (8, "256(RCQ1x8)", "RQ3x8")])
def test_stock_lists_with_the_same_codebooks_find_the_same(nbits, coarse, fine):
    """The first levels as FAISS's coarse quantizer, the others in its lists."""
    index = make_filled(nbits)
    lists = faiss.index_factory(D, f"IVF{coarse},{fine}")
    first = faiss.downcast_index(lists.quantizer)
    codebooks = codebooks_of(index)
    faiss.copy_array_to_vector(codebooks[: first.rq.M].ravel(), first.rq.codebooks)
    faiss.copy_array_to_vector(codebooks[first.rq.M :].ravel(), lists.rq.codebooks)
    first.ntotal = 256
    first.centroid_norms.resize(256)
    first.rq.is_trained = lists.rq.is_trained = True
    first.rq.compute_centroid_norms(first.centroid_norms.data())
    first.is_trained = lists.is_trained = True
    lists.add_sa_codes(faiss.vector_to_array(index.codes).reshape(len(BASE), -1))
    lists.nprobe = lists.nlist
    reference.assert_neighbours(index.search(X, K), lists.search(X, K), scale=1000)


# Prefixes


@WIDTHS
def test_clipping(nbits):
    """Without a beam, codes begin with those of the first levels and go on with the residuals'."""
    index = make_empty(nbits)
    codebooks = codebooks_of(index)
    prefix, suffix = (IndexDRQ.from_codebooks(part) for part in (codebooks[:2], codebooks[2:]))
    for one in (index, prefix, suffix):
        one.rq.max_beam_size = 1
    begun = prefix.sa_encode(BASE)
    rest = suffix.sa_encode(BASE - prefix.sa_decode(begun))
    whole = levels_of(index.sa_encode(BASE), nbits, M)
    np.testing.assert_array_equal(whole[:, :2], levels_of(begun, nbits, 2))
    same = (whole[:, 2:] == levels_of(rest, nbits, M - 2)).all(1).mean()
    assert same > 0.99  # subtracting rounds: the nearest two codewords may change places


def levels_of(packed, nbits, levels):
    bits = np.unpackbits(packed, axis=1, bitorder="little")[:, : levels * nbits]
    return bits.reshape(len(packed), levels, nbits) @ (1 << np.arange(nbits))


@METRIC
@WIDTHS
def test_levels_are_the_quantizer_that_faiss_clips(nbits, metric):
    """Searching two levels equals FAISS's search of an index with the first two levels of the codes."""
    index = make_filled(nbits, metric)
    clipped = faiss.IndexResidualQuantizer(D, 2, nbits, METRICS[metric])
    clipped.rq.initialize_from(index.rq)
    clipped.is_trained = True
    codes = levels_of(faiss.vector_to_array(index.codes).reshape(len(BASE), -1), nbits, M)[:, :2]
    clipped.add_sa_codes(reference.pack_codes(codes, nbits))
    found = index.search(X, K, params=SearchParametersDRQ(2))
    reference.assert_neighbours(found, clipped.search(X, K), scale=1000)


# Distance computers


@METRIC
@WIDTHS
def test_distance_computer(nbits, metric):
    index = make_filled(nbits, metric)
    distances, ids = index.search(X, K)
    for computer in (index.get_distance_computer(), index.get_FlatCodesDistanceComputer()):
        for x, row, found in zip(X, distances, ids, strict=True):
            computer.set_query(faiss.swig_ptr(x))
            np.testing.assert_allclose([computer(int(i)) for i in found], row, rtol=1e-4, atol=1e-3)


# Selectors


SELECTED = np.array([5, 17, 399, 0, 5, 230, 231, 64])
BITMAP = np.packbits(np.isin(np.arange(len(BASE)), SELECTED), bitorder="little")
SELECTORS = {
    "batch": (faiss.IDSelectorBatch(SELECTED), SELECTED),
    "array": (faiss.IDSelectorArray(SELECTED), SELECTED),
    "bitmap": (faiss.IDSelectorBitmap(BITMAP), SELECTED),
    "range": (faiss.IDSelectorRange(30, 80), np.arange(30, 80)),
    "all": (faiss.IDSelectorAll(), np.arange(len(BASE))),
}
SELECTORS["not"] = (
    faiss.IDSelectorNot(SELECTORS["range"][0]),
    np.setdiff1d(np.arange(len(BASE)), np.arange(30, 80)),
)
SELECTORS["or"] = (
    faiss.IDSelectorOr(SELECTORS["range"][0], SELECTORS["batch"][0]),
    np.union1d(np.arange(30, 80), SELECTED),
)


@KINDS
@pytest.mark.parametrize("name", SELECTORS)
@WIDTHS
def test_selectors_search_as_if_the_others_were_not_there(nbits, name, kind):
    selector, selected = SELECTORS[name]
    index, few = make_filled(nbits, kind=kind), make_empty(nbits, kind=kind)
    kept = np.unique(selected)
    few.add(BASE[kept])
    if kind == "flat":
        params = SearchParametersDRQ(sel=selector)
    else:
        params = SearchParametersIVFDRQ(sel=selector, nprobe=NLIST)
    D_expected, ids_expected = few.search(X, K)
    D_found, ids = index.search(X, K, params=params)
    np.testing.assert_array_equal(D_found, D_expected)
    np.testing.assert_array_equal(ids, np.where(ids_expected < 0, -1, kept[ids_expected]))

    radius = float(np.median(few.search(X, min(K, len(kept)))[0]))
    lims_expected, _, ids_expected = few.range_search(X, radius)
    lims, _, ids = index.range_search(X, radius, params=params)
    np.testing.assert_array_equal(lims, lims_expected)
    np.testing.assert_array_equal(ids, kept[ids_expected])


# Merging and removing


@KINDS
@WIDTHS
def test_merge(nbits, kind):
    whole, first, second = (
        make_filled(nbits, kind=kind),
        make_empty(nbits, kind=kind),
        make_empty(nbits, kind=kind),
    )
    first.add(BASE[:100])
    second.add(BASE[100:])
    first.merge_from(second, 100 if kind == "ivf" else 0)
    assert (first.ntotal, second.ntotal) == (len(BASE), 0)
    np.testing.assert_array_equal(first.search(X, K), whole.search(X, K))


@WIDTHS
def test_merge_with_ids(nbits):
    ids = np.random.default_rng(0).permutation(10_000)[: len(BASE)]
    whole, first, second = (faiss.IndexIDMap2(make_empty(nbits)) for _ in range(3))
    whole.add_with_ids(BASE, ids)
    first.add_with_ids(BASE[:100], ids[:100])
    second.add_with_ids(BASE[100:], ids[100:])
    first.merge_from(second)
    first.check_consistency()
    np.testing.assert_array_equal(first.search(X, K), whole.search(X, K))


@KINDS
@WIDTHS
def test_removing_leaves_the_others(nbits, kind):
    """A flat index numbers what is left anew; lists keep the ids."""
    index, kept = make_filled(nbits, kind=kind), np.arange(0, len(BASE), 3)
    expected = make_empty(nbits, kind=kind)
    if kind == "flat":
        expected.add(BASE[kept])
    else:
        expected.add_with_ids(BASE[kept], kept)
    assert index.remove_ids(np.setdiff1d(np.arange(len(BASE)), kept)) == len(BASE) - len(kept)
    np.testing.assert_array_equal(index.search(X, K), expected.search(X, K))
