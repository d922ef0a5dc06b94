"""Settings of searches, of an index and of what is inside others."""

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss._indexes.choices import factor_choices, level_choices, spread
from drqfaiss._indexes.settings import Setting, searched_with
from tests.indexes import D, make_index, make_vectors

Q = make_vectors(7, seed=1)


def test_a_setting_is_what_searches_do():
    index = make_index()
    expected = index.search(Q, 5, params=drqfaiss.SearchParametersDRQ(2, refine_levels=4, refine_factor=3))
    Setting(2, 4, 3).apply(faiss.IndexPreTransform(index))
    np.testing.assert_array_equal(index.search(Q, 5), expected)
    Setting(refine_factor=0).apply(index)
    assert (index.levels, index.refine_levels, index.refine_factor) == (2, 4, None)


def test_a_block_leaves_nothing_behind():
    index = drqfaiss.index_factory(D, "IVF4,DRQ3x4,RFlat", iterations=2, progress=False)
    index.train(make_vectors(300))
    inner = faiss.downcast_index(index.base_index)
    with searched_with(index, Setting(levels=2, nprobe=3, k_factor=2.5)):
        assert (inner.nprobe, index.k_factor) == (3, 2.5)
    assert (inner.nprobe, index.k_factor) == (1, 1)
    with (
        pytest.raises(ValueError, match="nprobe: got 9, expected 1 to 4"),
        searched_with(index, Setting(2, nprobe=9)),
    ):
        pass
    assert drqfaiss._indexes.settings.drq_indexes(index)[0].levels == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (Setting(levels=6), r"levels: got 6, expected 0 \(all\) to 5"),
        (Setting(refine_levels=6), r"refine_levels: got 6, expected 0 \(all\) to 5"),
        (Setting(4, 3, 2), "refine_levels: got 3, expected at least the 4 levels"),
        (Setting(refine_factor=-1), "refine_factor: got -1, expected 0 to"),
        (Setting(refine_factor=2**31), "refine_factor: got 2147483648, expected 0 to"),
        (Setting(2, nprobe=1), "nprobe: got IndexDRQ, expected an index with inverted lists"),
        (Setting(2, k_factor=2), "k_factor: got IndexDRQ, expected an index with refinement"),
    ],
)
def test_what_an_index_cannot_do_changes_nothing(setting, message):
    index = make_index()
    with pytest.raises(ValueError, match=message):
        setting.apply(index)
    assert (index.levels, index.refine_levels, index.refine_factor) == (0, 0, None)


def test_other_indexes_have_no_levels_to_choose():
    with pytest.raises(ValueError, match="levels: got IndexFlatL2, expected an index with levels"):
        Setting(levels=1).check(faiss.IndexFlatL2(D))
    with pytest.raises(ValueError, match=r"k_factor: got 0\.5, expected at least 1"):
        Setting(k_factor=0.5).check(faiss.IndexRefineFlat(faiss.IndexFlatL2(D)))


def test_choices_grow_by_about_a_half():
    assert spread(1) == [1]
    assert spread(20) == [1, 2, 3, 4, 6, 8, 12, 16, 20]
    assert level_choices(8) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert level_choices(96)[-3:] == [48, 64, 96]
    assert factor_choices(10, 201) == [1, 2, 3, 5, 10, 20]
    assert factor_choices(10, 5) == [1]
