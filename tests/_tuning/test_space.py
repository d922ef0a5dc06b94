"""Settings to tune among, and their order."""

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss._indexes.settings import Setting
from drqfaiss._tuning.space import Space
from tests.indexes import D, make_codebooks, make_index, make_vectors


def test_a_flat_index_is_scanned_by_few_levels_and_ranked_by_all():
    space = Space(make_index(300), 10)
    assert Setting(2, 5, 20) in space.settings
    assert Setting(5, 0, 0) == space.settings[space.most_thorough]
    assert Setting(5, 5, 20) not in space.settings  # A ranking by what was scanned is none.
    assert max(setting.refine_factor for setting in space.settings) == 20  # of 300 vectors, for 10 neighbours


def test_long_codes_may_be_ranked_by_half():
    index = drqfaiss.IndexDRQ.from_codebooks(make_codebooks(levels=24))
    index.add(make_vectors(300))
    assert {setting.refine_levels for setting in Space(index, 10).settings} == {0, 12, 24}


@pytest.mark.parametrize("description", ["DRQ3x4", "IVF8,DRQ3x4", "DRQ3x4,RFlat", "IVF8,DRQ3x4,RFlat"])
def test_all_settings_can_be_had_and_the_most_thorough_is_above_all_of_one_stage(description):
    index = drqfaiss.index_factory(D, description, iterations=2, progress=False)
    index.train(make_vectors(400))
    index.add(make_vectors(400))
    space = Space(index, 10)
    assert len({*space.settings}) == len(space.settings) == len(space.points)
    for setting in space.settings:
        setting.check(index)
    top = space.points[space.most_thorough]
    one_stage = [not setting.refine_factor for setting in space.settings]
    assert (space.points[one_stage] <= top).all()
    assert (space.settings[space.most_thorough].nprobe == 8) == ("IVF" in description)
    assert (space.settings[space.most_thorough].k_factor == 20) == ("RFlat" in description)


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_what_is_above_finds_no_less(metric):
    index = make_index(2000, metric)
    queries = make_vectors(200, seed=3)
    truth = faiss.knn(queries, make_vectors(2000), 10, index.metric_type)[1]
    space = Space(index, 10)
    recalls = []
    for setting in space.settings:
        setting.apply(index)
        ids = index.search(queries, 10)[1]
        recalls.append((truth[:, :, None] == ids[:, None, :]).any(2).mean())
    for point, recall in zip(space.points, recalls, strict=True):
        above = (space.points >= point).all(axis=1)
        assert np.array(recalls)[above].min() >= recall - 0.01
