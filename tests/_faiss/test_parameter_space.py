"""faiss.ParameterSpace with drqfaiss.install(): levels are set by name, and explored."""

import faiss
import numpy as np
import pytest

import drqfaiss
from tests.indexes import D, make_codebooks, make_index, make_vectors

Q = make_vectors(30, seed=1)
METHODS = ("set_index_parameter", "set_index_parameters", "initialize", "explore")


@pytest.fixture
def space():
    with drqfaiss.installed():
        yield faiss.ParameterSpace()


def depth(index):
    return index.levels, index.refine_levels, index.refine_factor


def ranges(space):
    found = (space.parameter_ranges.at(i) for i in range(space.parameter_ranges.size()))
    return {range.name: faiss.vector_to_array(range.values).tolist() for range in found}


def intersection(index, k=10):
    criterion = faiss.IntersectionCriterion(len(Q), k)
    criterion.set_groundtruth(None, index.search(Q, k)[1])  # 1.14.2 fails on distances
    return criterion


def test_uninstall_gives_the_methods_back():
    stock = [getattr(faiss.ParameterSpace, name) for name in METHODS]
    with drqfaiss.installed():
        assert not {getattr(faiss.ParameterSpace, name) for name in METHODS} & {*stock}
    assert [getattr(faiss.ParameterSpace, name) for name in METHODS] == stock


def test_settings_are_set_by_name_in_any_order(space):
    index = make_index()
    space.set_index_parameters(index, "refine_levels=4,levels=2,refine_factor=20")
    assert depth(index) == (2, 4, 20)
    space.set_index_parameters(index, "levels=5,refine_factor=3,refine_levels=0")
    assert depth(index) == (5, 0, 3)
    space.set_index_parameter(index, "refine_factor", 0)
    assert depth(index) == (5, 0, None)


@pytest.mark.parametrize(
    "description", ["IDMap,DRQ3x4", "PCA8,DRQ3x4", "DRQ3x4,RFlat", "IDMap2,PCA8,DRQ3x4,RFlat"]
)
def test_settings_reach_what_is_inside(space, description):
    index = drqfaiss.index_factory(D, description, iterations=2, progress=False)
    index.train(make_vectors(300))
    index.add_with_ids(make_vectors(300), np.arange(300)) if "IDMap" in description else index.add(
        make_vectors(300)
    )
    (inner,) = drqfaiss._indexes.settings.drq_indexes(index)
    space.set_index_parameters(index, "levels=2,refine_factor=20")
    assert depth(inner) == (2, 0, 20)
    if "RFlat" in description:
        (refine,) = drqfaiss._indexes.settings.refining_indexes(index)
        space.set_index_parameters(index, "levels=1,k_factor_rf=7")
        assert (inner.levels, refine.k_factor) == (1, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("levels=9,refine_factor=2", r"levels: got 9, expected 0 \(all\) to 5"),
        ("levels=3,refine_levels=2,refine_factor=2", "refine_levels: got 2, expected at least the 3"),
        ("levels=1.5", "levels: got 1.5, expected an integer"),
        ("levels=many", "levels: got 'many', expected a number"),
        ("levels=-1", "levels: got -1, expected 0 to"),
        ("levels=2,nprobe=3", "could not set parameter nprobe"),
        ("levels=2,nonsense=3", "could not set parameter nonsense"),
    ],
)
def test_errors_are_faisss_and_change_nothing(space, text, message):
    index = make_index()
    index.levels, index.refine_factor = 1, 7
    with pytest.raises(RuntimeError, match=message):
        space.set_index_parameters(index, text)
    assert depth(index) == (1, 0, 7)


def test_stock_indexes_stay_faisss(space):
    ivf = faiss.index_factory(D, "IVF4,Flat")
    space.initialize(ivf)
    assert [*ranges(space)] == ["nprobe"]
    space.set_index_parameters(ivf, "nprobe=3")
    assert ivf.nprobe == 3
    with pytest.raises(RuntimeError, match="could not set parameter levels"):
        space.set_index_parameters(ivf, "levels=2")


def test_ranges_are_those_of_the_index(space):
    index = make_index()
    empty = drqfaiss.IndexDRQ(D, 5, 4)
    for around in (index, faiss.IndexIDMap2(empty), index):
        space.initialize(around)
        assert ranges(space)["levels"] == [1, 2, 3, 4, 5]
        assert ranges(space)["refine_factor"][:3] == [0, 2, 3]
    ivf = drqfaiss.index_factory(D, "IVF4,DRQ3x4", progress=False)
    lists = faiss.ParameterSpace()
    lists.initialize(ivf)
    assert {"nprobe", "levels"} <= {*ranges(lists)}
    long = drqfaiss.IndexDRQ(D, 24, 4)
    long_space = faiss.ParameterSpace()
    long_space.initialize(long)
    assert ranges(long_space)["levels"] == [1, 2, 3, 4, 6, 8, 12, 16, 24]


def test_every_combination_is_explored_with_its_own_recall(space):
    index = make_index()
    space.initialize(index)
    criterion = intersection(index)
    space.n_experiments = 0
    points = space.explore(index, Q, criterion)
    found = [points.all_pts.at(i) for i in range(points.all_pts.size())]
    assert len(found) == space.n_combinations()
    exact = make_index().search(Q, 10)[1]
    for point in found:
        space.set_index_parameters(index, point.key)
        ids = index.search(Q, 10)[1]
        expected = np.mean([len({*a} & {*b}) for a, b in zip(ids, exact, strict=True)]) / 10
        assert point.perf == pytest.approx(expected)
        assert point.t > 0


def test_few_experiments_leave_out_what_is_beaten(space):
    index = drqfaiss.IndexDRQ.from_codebooks(make_codebooks())
    index.add(make_vectors(400))
    space.initialize(index)
    space.n_experiments, space.min_test_duration = 12, 0
    points = space.explore(index, Q, intersection(index))
    keys = [points.all_pts.at(i).key for i in range(points.all_pts.size())]
    assert 2 <= len(keys) <= 12
    assert keys[:2] == [space.combination_name(0), space.combination_name(space.n_combinations() - 1)]
    with pytest.raises(ValueError, match="xq: got 3 queries, expected the 30 of crit"):
        space.explore(index, Q[:3], intersection(index))
