"""index_factory descriptions with DRQ."""

import faiss
import numpy as np
import pytest

from drqfaiss import IndexDRQ, SearchParametersDRQ, index_factory, read_index, write_index
from drqfaiss._core import factor
from drqfaiss._indexes.engines import engine_of
from drqfaiss._indexes.nested import residual_quantizers
from tests.indexes import make_vectors

D = 16
TRAIN = make_vectors(300, seed=3)
QUICK = {"iterations": 2, "progress": False}

DESCRIPTIONS = {
    "DRQ4x4": (IndexDRQ, 4, 4),
    "DRQ2": (IndexDRQ, 2, 8),
    "DRQ3x5": (IndexDRQ, 3, 5),
    "PCA8,DRQ4x4": (faiss.IndexPreTransform, 4, 4),
    "OPQ4_8,DRQ4x4": (faiss.IndexPreTransform, 4, 4),
    "L2norm,DRQ4x4": (faiss.IndexPreTransform, 4, 4),
    "IDMap,DRQ4x4": (faiss.IndexIDMap, 4, 4),
    "IDMap2,DRQ4x4": (faiss.IndexIDMap2, 4, 4),
    "IDMap2,PCA8,DRQ4x4": (faiss.IndexIDMap2, 4, 4),
    "DRQ4x4,RFlat": (faiss.IndexRefineFlat, 4, 4),
    "PCA8,DRQ4x4,RFlat": (faiss.IndexRefineFlat, 4, 4),
}


def add(index, x):
    if isinstance(index, faiss.IndexIDMap):
        index.add_with_ids(x, np.arange(len(x)))
    else:
        index.add(x)


@pytest.mark.parametrize("description", DESCRIPTIONS)
@pytest.mark.parametrize("metric", [faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT])
def test_descriptions(tmp_path, description, metric):
    expected_type, levels, nbits = DESCRIPTIONS[description]
    index = index_factory(D, description, metric, layout="shared", **QUICK)
    assert type(index) is expected_type
    (inner,) = residual_quantizers(index)
    assert (inner.rq.M, inner.rq.nbits.at(0), inner.metric_type) == (levels, nbits, metric)
    assert inner.rq.search_type == faiss.AdditiveQuantizer.ST_norm_from_LUT
    index.train(TRAIN)
    codebooks = faiss.vector_to_array(inner.rq.codebooks).reshape(levels, 1 << nbits, inner.d)
    assert factor(codebooks)[0] == [0] * levels  # ours: the stock trainer's are independent
    add(index, TRAIN)
    D_found, ids = index.search(TRAIN[:20], 5)
    if metric == faiss.METRIC_L2:
        assert np.mean([i in row for i, row in enumerate(ids)]) > 0.5
    write_index(index, tmp_path / "x.faiss")
    np.testing.assert_array_equal(read_index(tmp_path / "x.faiss").search(TRAIN[:20], 5), (D_found, ids))


@pytest.mark.parametrize(
    ("description", "options"),
    [
        ("DRQ9x4s", {"layout": "shared"}),
        ("DRQ9x4b4", {"layout": "blocks", "block_size": 4}),
        ("IDMap,DRQ9x4g2b4", {"layout": "blocks", "global_levels": 2, "block_size": 4}),
    ],
)
def test_layouts_in_a_description(description, options):
    index = index_factory(D, description, **QUICK)
    (inner,) = residual_quantizers(index)
    expected = IndexDRQ(D, 9, 4, **QUICK, **options)
    assert engine_of(inner).training(inner) == engine_of(expected).training(expected)
    with pytest.raises(TypeError, match="layout: got it in description 'DRQ9x4s' and as an argument"):
        index_factory(D, "DRQ9x4s", layout="blocks")


def test_levels_through_a_transform():
    index = index_factory(D, "PCA8,DRQ4x4", **QUICK)
    index.train(TRAIN)
    index.add(TRAIN)
    parameters = faiss.SearchParametersPreTransform(index_params=SearchParametersDRQ(1))
    assert len(np.unique(index.search(TRAIN[:1], 300, params=parameters)[0])) <= 16


def test_descriptions_without_drq_are_faiss_own():
    assert type(index_factory(D, "Flat")) is faiss.IndexFlat
    assert type(index_factory(D, "RQ4x4")) is faiss.IndexResidualQuantizer


BAD_DESCRIPTIONS = [
    ("DRQ", ValueError, "expected DRQ<levels>x<bits>"),
    ("DRQ8x", ValueError, "expected DRQ<levels>x<bits>"),
    ("DRQ8x8g4", ValueError, "expected DRQ<levels>x<bits> or DRQ<levels>, _<levels>x<bits>"),
    ("DRQ8x8b0", ValueError, "block_size: got 0"),
    ("DRQx8", ValueError, "expected DRQ<levels>x<bits>"),
    ("DRQ8x8_Nfloat", ValueError, "expected DRQ<levels>x<bits>"),
    ("DRQ4x4,Refine(RQ8x4)", ValueError, "not beside RQ"),
    ("DRQ4x17", ValueError, "bits of 'DRQ4x17'.*expected .*1 to 16"),
    ("PCA99,,DRQ4x4", ValueError, "FAISS cannot build 'PCA99,,DRQ4x4'"),
    ("DQR8x8", ValueError, "FAISS cannot build 'DQR8x8'"),
    ("", ValueError, "FAISS cannot build ''"),
    (8, TypeError, "description: got 8, expected a string"),
]


@pytest.mark.parametrize(("description", "error", "message"), BAD_DESCRIPTIONS)
def test_bad_descriptions(description, error, message):
    with pytest.raises(error, match=message):
        index_factory(D, description)


def test_bad_options():
    with pytest.raises(ValueError, match="d: got 0"):
        index_factory(0, "DRQ8x8")
    with pytest.raises(ValueError, match="FAISS cannot build"):
        index_factory(D, "DRQ8x8", faiss.METRIC_L1)
    with pytest.raises(ValueError, match="scale: got 'log'"):
        index_factory(D, "DRQ8x8", scale="log")
    with pytest.raises(ValueError, match="no weight for all 4 levels"):
        index_factory(D, "DRQ4x4", prefix_weights={2: 1})
    with pytest.raises(TypeError, match="seed: got options of DRQ, expected none for description 'RQ8x8'"):
        index_factory(D, "RQ8x8", seed=1)
    with pytest.raises(TypeError, match="epochs"):
        index_factory(D, "DRQ8x8", epochs=2)


@pytest.mark.parametrize(
    "description", ["DRQ0x8", "DRQ4x0", "DRQ4x17", "DRQ99999999999x8", "PCA8,DRQ70000x8"]
)
def test_levels_and_bits_out_of_range(description):
    with pytest.raises(ValueError, match=r"DRQ.*expected"):
        index_factory(16, description)
