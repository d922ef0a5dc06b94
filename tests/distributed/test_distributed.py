import faiss
import numpy as np
import pytest
import ray

import drqfaiss
from drqfaiss.datasets import RowRange, read_floats
from drqfaiss.distributed import ShardedIndex, build_shards
from tests.indexes import METRICS, make_codebooks, make_vectors

N = 500


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def write_trained(folder, metric="l2"):
    index = drqfaiss.IndexDRQ.from_codebooks(make_codebooks(), METRICS[metric])
    drqfaiss.write_index(index, folder / "trained.faiss")
    return index


@pytest.fixture
def vectors(tmp_path):
    x = make_vectors(N)
    x[N // 2 :] = x[: N // 2]  # equal distances in different shards
    np.save(tmp_path / "x.npy", x)
    return x


@pytest.mark.parametrize("metric", METRICS)
def test_shards_find_what_one_index_finds(metric, vectors, tmp_path):
    whole = write_trained(tmp_path, metric)
    whole.add(vectors)
    files = build_shards(tmp_path / "trained.faiss", tmp_path / "x.npy", tmp_path, 3, chunk=64)
    queries = make_vectors(7, seed=1)
    with ShardedIndex(files) as sharded:
        assert (sharded.d, sharded.ntotal) == (whole.d, N)
        for levels in (None, 2, None):  # a search's levels are not kept
            whole.levels = levels or 0
            for k in (1, 10, N + 5):
                D, ids = sharded.search(queries, k, levels=levels)
                expected = whole.search(queries, k)
                np.testing.assert_array_equal(D, expected[0])
                np.testing.assert_array_equal(ids, expected[1])


def test_every_shard_ranks_a_shortlist_of_its_own(vectors, tmp_path):
    whole = write_trained(tmp_path)
    whole.add(vectors)
    files = build_shards(tmp_path / "trained.faiss", tmp_path / "x.npy", tmp_path, 2)
    queries = make_vectors(7, seed=1)
    with ShardedIndex(files) as sharded:
        every = sharded.search(queries, 10, levels=1, refine_factor=N)  # All are on one list or the other.
        np.testing.assert_array_equal(every, whole.search(queries, 10))
        D, ids = sharded.search(queries, 10, levels=2, refine_levels=4, refine_factor=2)
        near = drqfaiss.SearchParametersDRQ(2, refine_levels=4, refine_factor=2)
        parts = [drqfaiss.read_index(file).search(queries, 10, params=near)[0] for file in files]
        np.testing.assert_array_equal(D, np.sort(np.concatenate(parts, axis=1), axis=1)[:, :10])
        assert ids.max() >= N // 2
        np.testing.assert_array_equal(sharded.search(queries, 10), whole.search(queries, 10))
        with pytest.raises(ValueError, match="refine_levels: got 1, expected at least the 2 levels"):
            sharded.search(queries, 10, levels=2, refine_levels=1, refine_factor=2)


def test_shards_that_are_there_are_not_built_again(vectors, tmp_path):
    write_trained(tmp_path)
    arguments = (tmp_path / "trained.faiss", tmp_path / "x.npy", tmp_path, 2)
    first, second = build_shards(*arguments)
    (tmp_path / "shard-01.faiss").unlink()
    with open(first, "rb") as file:
        content = file.read()
    (tmp_path / "shard-00.faiss").write_bytes(content + b"kept")
    assert build_shards(*arguments) == [first, second]
    assert (tmp_path / "shard-00.faiss").read_bytes().endswith(b"kept")
    assert drqfaiss.read_index(second).ntotal == N // 2
    with pytest.raises(ValueError, match="got 250 vectors, expected 125"):
        build_shards(*arguments[:3], 4)


def test_shards_of_other_vectors_or_another_index_are_not_taken(vectors, tmp_path):
    write_trained(tmp_path)
    arguments = (tmp_path / "trained.faiss", tmp_path / "x.npy", tmp_path, 2)
    build_shards(*arguments)
    before = (tmp_path / "shard-01.faiss").read_bytes()
    np.save(tmp_path / "x.npy", make_vectors(N, seed=9))
    with pytest.raises(ValueError, match=r"shard-0\d\.faiss: got other vectors"):
        build_shards(*arguments)
    np.save(tmp_path / "x.npy", vectors)
    assert (tmp_path / "shard-01.faiss").read_bytes() == before
    build_shards(*arguments)
    other = drqfaiss.IndexDRQ.from_codebooks(2 * make_codebooks())
    drqfaiss.write_index(other, tmp_path / "trained.faiss")
    with pytest.raises(ValueError, match="those of another trained index, expected"):
        build_shards(*arguments)


def test_shards_of_inverted_lists_are_recognized(vectors, tmp_path):
    coarse = faiss.IndexFlatL2(16)
    coarse.add(vectors[:4])
    trained = drqfaiss.IndexIVFDRQ.from_codebooks(coarse, make_codebooks())
    drqfaiss.write_index(trained, tmp_path / "trained.faiss")
    arguments = (tmp_path / "trained.faiss", tmp_path / "x.npy", tmp_path, 2)
    files = build_shards(*arguments)
    assert build_shards(*arguments) == files
    np.save(tmp_path / "x.npy", vectors[::-1].copy() + 1)
    with pytest.raises(ValueError, match="got other vectors"):
        build_shards(*arguments)


def test_a_worker_killed_at_the_very_end_leaves_nothing_behind(vectors, tmp_path, monkeypatch):
    write_trained(tmp_path)
    trained, output = tmp_path / "trained.faiss", tmp_path / "shard-00.faiss"
    monkeypatch.setattr(drqfaiss.build, "_remove", lambda work: None)  # as if killed after the file is there
    drqfaiss.build.build_index(trained, RowRange(vectors, 0, N // 2), output, progress=False)
    assert (tmp_path / "shard-00.faiss.build").exists()
    content = output.read_bytes()
    build_shards(trained, tmp_path / "x.npy", tmp_path, 2)
    assert output.read_bytes() == content
    assert not [*tmp_path.glob("*.build")]


def test_parts_with_ids_of_their_own(vectors, tmp_path):
    write_trained(tmp_path)
    for name, ids in {"a": np.arange(10) + 1_000, "b": np.arange(10)}.items():
        index = faiss.IndexIDMap2(drqfaiss.read_index(tmp_path / "trained.faiss"))
        index.add_with_ids(vectors[:10] + (name == "b"), ids)
        drqfaiss.write_index(index, tmp_path / name)
    with ShardedIndex([tmp_path / "a", tmp_path / "b"], successive_ids=False) as sharded:
        found = sharded.search(vectors[:3], 20)[1]
    assert (np.sort(found, axis=1) == [*range(10), *range(1_000, 1_010)]).all()


def test_errors_arrive_as_they_were(vectors, tmp_path):
    write_trained(tmp_path)
    trained = tmp_path / "trained.faiss"
    with pytest.raises(ValueError, match="shards: got 501, expected 1 to 500"):
        build_shards(trained, tmp_path / "x.npy", tmp_path, 501)
    np.save(tmp_path / "narrow.npy", np.zeros((4, 5), np.float32))
    with pytest.raises(ValueError, match=r"got shape \(2, 5\), expected \(n, 16\)"):
        build_shards(trained, tmp_path / "narrow.npy", tmp_path, 2)
    with pytest.raises(OSError, match=r"none\.faiss"):
        ShardedIndex([tmp_path / "none.faiss"])
    with pytest.raises(ValueError, match="files: got none"):
        ShardedIndex([])
    faiss.write_index(faiss.IndexFlatL2(3), str(tmp_path / "flat.faiss"))
    with pytest.raises(ValueError, match="expected the same d and metric"):
        ShardedIndex([trained, tmp_path / "flat.faiss"])
    with ShardedIndex([trained]) as sharded:
        with pytest.raises(ValueError, match=r"x: got shape \(1, 3\), expected \(n, 16\)"):
            sharded.search(np.zeros((1, 3)), 1)
        with pytest.raises(ValueError, match=r"levels: got 9, expected 0 \(all\) to 5"):
            sharded.search(np.zeros((1, 16)), 1, levels=9)


def test_a_range_of_rows_reads_its_own():
    x = make_vectors(20)
    part = RowRange(x, 5, 12)
    assert (part.shape, len(part)) == ((7, 16), 7)
    np.testing.assert_array_equal(read_floats(part), x[5:12])
    np.testing.assert_array_equal(part[4:100], x[9:12])
