"""Which indexes a plan chooses from."""

import pytest

from drqfaiss._planning.shape import Shape, lengths, lists_for, lists_in_sample, variants


@pytest.mark.parametrize(
    ("shape", "description"),
    [
        (Shape(16), "DRQ16x8"),
        (Shape(16, lists=1024), "IVF1024,DRQ16x8"),
        (Shape(16, kept=64, lists=1024, copies="SQ8"), "PCA64,IVF1024,DRQ16x8,Refine(SQ8)"),
        (Shape(8, copies="Flat"), "DRQ8x8,RFlat"),
    ],
)
def test_descriptions_are_those_of_the_factory(shape, description):
    assert shape.description == description


def test_codes_have_no_more_bytes_than_dimensions():
    assert lengths(16) == [2, 4, 6, 8, 12, 16]
    assert lengths(1) == [1]


@pytest.mark.parametrize(("n", "lists"), [(1_000, 0), (199_999, 0), (200_000, 2048), (1_000_000, 4096)])
def test_lists_go_with_the_root_of_the_vectors(n, lists):
    assert lists_for(n) == lists


def test_lists_of_a_sample_are_fewer():
    assert lists_in_sample(4096, 1_000_000, 10_000) == 512  # 409.6, to the next power of two
    assert lists_in_sample(0, 1_000, 10_000) == 0
    assert lists_in_sample(2, 10**9, 100) == 1


def test_variants_begin_with_the_simplest():
    assert variants(Shape(8), 64) == [Shape(8), Shape(8, own_first=True)]
    assert variants(Shape(48, lists=64), 1024) == [Shape(48, lists=64), Shape(48, kept=512, lists=64)]
    assert variants(Shape(1), 64) == [Shape(1)]
