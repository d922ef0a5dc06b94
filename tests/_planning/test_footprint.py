"""Bytes of indexes: those of files are what FAISS writes."""

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss._planning.footprint import copy_for_searches, footprint
from drqfaiss._planning.shape import Shape

N, D = 1_000, 24
L2, IP = faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT
HEADERS = 2_000  # bytes of a file that no part counts


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


@pytest.mark.parametrize("metric", [faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT])
@pytest.mark.parametrize(
    "shape",
    [
        Shape(4),
        Shape(12),
        Shape(4, kept=12),
        Shape(4, lists=16),
        Shape(4, copies="SQ8"),
        Shape(4, lists=16, copies="Flat"),
    ],
    ids=lambda shape: shape.description,
)
def test_files_have_the_bytes_that_are_told(x, shape, metric):
    index = drqfaiss.index_factory(
        D,
        shape.description,
        metric,
        **shape.training,
        layout="shared",
        quality="fast",
        iterations=1,
        progress=False,
    )
    index.train(x)
    index.add(x)
    told = footprint(shape, N, D, metric).file
    assert told <= len(faiss.serialize_index(index)) <= told + HEADERS + 4 * D * 4


def test_memory_holds_what_files_do_not():
    shape = Shape(8, lists=64)
    told = footprint(shape, 1_000, D, faiss.METRIC_L2, copy=5_000)
    assert told.per_vector == {"codes": 8, "norms": 4, "ids": 8}
    assert told.fixed == {
        "codebooks": 8 * 256 * D * 4,
        "centroids": 64 * D * 4,
        "products of codewords": 28 * 256**2 * 4,
        "copy for searches": 5_000,
    }
    assert told.memory - told.file == 1_000 * 4 + 28 * 256**2 * 4 + 5_000
    assert footprint(shape, 1_000, D, faiss.METRIC_INNER_PRODUCT).per_vector == {"codes": 8, "ids": 8}


def test_products_are_those_that_an_index_has(x):
    for levels in (2, 11, 12):
        index = drqfaiss.IndexDRQ.from_codebooks(np.random.default_rng(0).normal(size=(levels, 256, D)))
        told = footprint(Shape(levels), N, D, faiss.METRIC_L2).fixed.get("products of codewords", 0)
        assert told == 4 * index.rq.codebook_cross_products.size()


def test_the_arithmetic_adds_up():
    told = footprint(Shape(4), 1_000, D, faiss.METRIC_L2, copy=7)
    assert list(told.arithmetic()) == [
        "codes: 1,000 x 4 = 4,000",
        "norms: 1,000 x 4 = 4,000",
        "codebooks: 98,304",
        "products of codewords: 1,572,864",
        "copy for searches: 7",
    ]


def test_searches_have_each_codebook_once(x):
    quantizer = drqfaiss.Quantizer.train(x, levels=6, layout="shared", quality="fast", progress=False)
    for levels, metric in ((6, IP), (1, IP), (6, L2)):
        assert copy_for_searches(quantizer, levels, metric) == 256 * 2 * D * 4
    blocks = drqfaiss.Quantizer.train(
        x, levels=6, layout="blocks", global_levels=2, own_levels=0, block_size=8, quality="fast",
        progress=False,
    )  # fmt: skip
    used = {int(g) for g in blocks.level_groups}
    sizes = [blocks.groups[g].codebook.shape[1] for g in used]
    assert sorted(set(sizes)) == [8, D]
    assert copy_for_searches(blocks, 6, IP) == sum(256 * (D + size) * 4 for size in sizes)
    assert copy_for_searches(blocks, 6, L2) == sum(256 * (D + 2 * size) * 4 for size in sizes) + D * D * 4
    assert copy_for_searches(blocks, 2, L2) == copy_for_searches(blocks, 2, IP)  # no level on a block
