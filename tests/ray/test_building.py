import numpy as np
import pytest
import ray

from drqfaiss.distributed import Manifest, ShardedIndex, build_shards, merge_shards
from tests.distributed.shards import KINDS, N, make_data, make_shards, make_trained, make_whole, own_ids
from tests.indexes import make_vectors

pytestmark = pytest.mark.usefixtures("one_machine")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_build_what_one_process_builds(kind, tmp_path):
    expected = contents(make_shards(tmp_path / "s", kind, shards=5))
    ids = own_ids() if kind == "ids" else None
    arguments = (make_trained(kind), tmp_path / "s.npy", tmp_path / "tasks", 5)
    manifest = build_shards(*arguments, ids=ids)
    assert contents(tmp_path / "tasks") == expected
    assert build_shards(*arguments, ids=ids) == manifest == Manifest.read(tmp_path / "s")
    assert merge_shards(tmp_path / "tasks", tmp_path / "merged", 2).ntotal == N


def test_arrays_are_sent_to_tasks(tmp_path):
    make_shards(tmp_path / "s", shards=10)
    x = make_data()
    build_shards(make_trained(), (x[i : i + 30] for i in range(0, N, 30)), tmp_path / "t", shard_rows=N // 10)
    one, other = contents(tmp_path / "s"), contents(tmp_path / "t")
    assert {name for name in one if one[name] != other[name]} <= {"manifest.json"}


@pytest.mark.parametrize("with_ids", [False, True])
def test_a_dataset_is_read_where_it_is_encoded(with_ids, tmp_path):
    x, ids = make_data(), own_ids()
    rows = [{"vector": row, "name": int(name)} for row, name in zip(x, ids, strict=True)]
    dataset = ray.data.from_items(rows, override_num_blocks=4)
    build_shards(make_trained(), dataset, tmp_path / "s", 3, ids="name" if with_ids else None)
    whole = make_whole("ids" if with_ids else "flat")
    with ShardedIndex.open(tmp_path / "s", ray=False) as index:
        found, expected = index.search(make_vectors(5, 1), 10), whole.search(make_vectors(5, 1), 10)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="column: got 'embedding', expected one of 'vector', 'name'"):
        build_shards(make_trained(), dataset, tmp_path / "s", 3, column="embedding")
    with pytest.raises(TypeError, match="expected the name of the dataset's column of ids"):
        build_shards(make_trained(), dataset, tmp_path / "s", 3, ids=ids)


def test_errors_arrive_as_they_were(tmp_path):
    x = make_data()
    x[400, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ValueError, match=r"x\.npy: got 1 values that are NaN or infinite"):
        build_shards(make_trained(), tmp_path / "x.npy", tmp_path / "s", 3)
    assert not (tmp_path / "s" / "manifest.json").exists()
