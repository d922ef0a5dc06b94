"""Shards in this process; tests/ray has the same in actors."""

import json
import shutil

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss.distributed import Manifest, MissingShardsError, ShardedIndex, _index
from tests.distributed.shards import KINDS, N, make_shards, make_trained, make_whole, own_ids
from tests.indexes import METRICS, make_vectors


def assert_same(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def opened(folder, **options):
    return ShardedIndex.open(folder, ray=False, **options)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shards", [1, 3, 8])
def test_shards_find_what_one_index_finds(kind, metric, shards, tmp_path, monkeypatch):
    monkeypatch.setattr(_index, "QUERIES_AT_ONCE", 2)  # More batches than shards may be ahead.
    whole, queries = make_whole(kind, metric), make_vectors(13, seed=1)
    with opened(make_shards(tmp_path / "s", kind, metric, shards)) as index:
        assert (index.d, index.ntotal, index.metric_type) == (16, N, METRICS[metric])
        assert list(index.shards.values()) == [
            shard.vectors for shard in Manifest.read(tmp_path / "s").shards
        ]
        for k in (1, 10, N + 5):
            assert_same(index.search(queries, k), whole.search(queries, k))
        assert_same(index.search(queries[:0], 3), whole.search(queries[:0], 3))


def test_settings_are_those_of_one_search(tmp_path):
    queries = make_vectors(9, seed=1)
    whole, lists = make_whole(), make_whole("ivf")
    with opened(make_shards(tmp_path / "flat")) as index:
        for levels in (1, 3):
            params = drqfaiss.SearchParametersDRQ(levels)
            assert_same(index.search(queries, 5, levels=levels), whole.search(queries, 5, params=params))
        assert_same(index.search(queries, 5, levels=0), whole.search(queries, 5))
        ranked = index.search(queries, 10, levels=1, refine_factor=N)  # All are on one list or the other.
        assert_same(ranked, whole.search(queries, 10))
    with opened(make_shards(tmp_path / "ivf", "ivf")) as index:
        params = drqfaiss.SearchParametersIVFDRQ(2, nprobe=5)
        assert_same(index.search(queries, 5, levels=2, nprobe=5), lists.search(queries, 5, params=params))
        params = drqfaiss.SearchParametersIVFDRQ(2, nprobe=3)
        assert_same(index.search(queries, 5, levels=2), lists.search(queries, 5, params=params))


@pytest.mark.parametrize("kind", KINDS)
def test_ids_choose_what_may_be_found(kind, tmp_path):
    whole, queries = make_whole(kind), make_vectors(9, seed=1)
    ids = own_ids() if kind == "ids" else np.arange(N)
    cases = [
        ({"only": ids[::3]}, faiss.IDSelectorBatch(ids[::3])),
        ({"only": range(100, 300)}, faiss.IDSelectorRange(100, 300)),
        ({"without": ids[::3]}, faiss.IDSelectorNot(faiss.IDSelectorBatch(ids[::3]))),
        (
            {"only": range(400), "without": ids[::2]},
            faiss.IDSelectorAnd(
                faiss.IDSelectorRange(0, 400), faiss.IDSelectorNot(faiss.IDSelectorBatch(ids[::2]))
            ),
        ),
        ({"only": np.array([-1, 10 * N])}, faiss.IDSelectorBatch([-1, 10 * N])),
    ]
    with opened(make_shards(tmp_path / "s", kind)) as index:
        for given, sel in cases:
            if kind == "ivf":
                params = faiss.SearchParametersIVF(sel=sel, nprobe=3)
            else:
                params = drqfaiss.SearchParametersDRQ(sel=sel)
            assert_same(index.search(queries, 6, **given), whole.search(queries, 6, params=params))
        with pytest.raises(TypeError, match="only: got float64, expected integers"):
            index.search(queries, 6, only=[1.5])


@pytest.mark.parametrize("kind", KINDS)
def test_changes_are_those_of_one_index_and_are_saved(kind, tmp_path):
    folder, whole, queries = make_shards(tmp_path / "s", kind), make_whole(kind), make_vectors(9, seed=1)
    new = make_vectors(20, seed=5)
    with opened(folder) as index:
        index.add(new)
        if kind == "ids":
            whole.add_with_ids(new, own_ids().max() + 1 + np.arange(20))
        else:
            whole.add(new)
        assert_same(index.search(queries, 10), whole.search(queries, 10))
        gone = own_ids()[::3] if kind == "ids" else np.arange(0, N, 3)
        assert index.remove_ids(gone) == whole.remove_ids(gone) == len(gone)
        assert index.remove_ids(range(20 * N, 30 * N)) == 0
        assert index.ntotal == whole.ntotal
        expected = whole.search(queries, 10)
        assert_same(index.search(queries, 10), expected)
        index.save()
        assert_same(index.search(queries, 10), expected)
        index.save(tmp_path / "other")
    for place in (folder, tmp_path / "other"):
        files = {path.name for path in place.iterdir()}
        assert files == {
            "manifest.json",
            "trained.faiss",
            *(shard.file for shard in Manifest.read(place).shards),
        }
        with opened(place) as index:
            assert_same(index.search(queries, 10), expected)


def test_only_what_has_changed_is_written(tmp_path):
    folder = make_shards(tmp_path / "s")
    with opened(folder) as index:
        index.remove_ids([0])
        for number in (1, 2):
            index.add(make_vectors(1))
            index.save()
            names = [
                f"shard-00000.{min(number, 1)}.faiss",
                "shard-00001.faiss",
                f"shard-00002.{number}.faiss",
            ]
            assert [shard.file for shard in Manifest.read(folder).shards] == names
        index.save()
        assert [shard.file for shard in Manifest.read(folder).shards] == names


def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    folder = make_shards(tmp_path / "s")
    with opened(folder) as index:
        before = index.search(make_vectors(3), 10)
        index.add(make_vectors(5))
        monkeypatch.setattr(Manifest, "write", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index.save()
    with opened(folder) as index:
        assert_same(index.search(make_vectors(3), 10), before)


def test_a_single_file_is_an_index_of_one_shard(tmp_path):
    drqfaiss.write_index(make_whole(), tmp_path / "x.faiss")
    with opened(tmp_path / "x.faiss") as index:
        assert_same(index.search(make_vectors(3), 10), make_whole().search(make_vectors(3), 10))
        index.add(make_vectors(2, seed=8))
        index.save()
    assert drqfaiss.read_index(tmp_path / "x.faiss").ntotal == N + 2


def test_wrong_searches_are_refused(tmp_path):
    with opened(make_shards(tmp_path / "s")) as index:
        for arguments, message in [
            ({"x": np.zeros((1, 3))}, r"x: got shape \(1, 3\), expected \(n, 16\)"),
            ({"x": np.full((1, 16), np.nan)}, "x: got 16 values that are NaN"),
            ({"k": 0}, "k: got 0, expected at least 1"),
            ({"levels": 9}, r"levels: got 9, expected 0 \(all\) to 5"),
            (
                {"levels": 2, "refine_levels": 1, "refine_factor": 2},
                "refine_levels: got 1, expected at least",
            ),
            ({"nprobe": 2}, "nprobe: got IndexDRQ, expected an index with inverted lists"),
            ({"refine_factor": 0}, "refine_factor: got 0, expected 1 to"),
        ]:
            with pytest.raises(ValueError, match=message):
                index.search(**{"x": np.zeros((1, 16)), "k": 1, **arguments})
        for arguments, message in [
            ((np.full((1, 16), np.inf),), "x: got 16 values that are NaN or infinite"),
            ((np.zeros((1, 16)), [1]), "ids: got some, expected None: the shards number their vectors"),
        ]:
            with pytest.raises(ValueError, match=message):
                index.add(*arguments)
        assert index.ntotal == N


def broken(folder, how):
    """Damage the second shard; return what the error says of it."""
    path = folder / "shard-00001.faiss"
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
        return r"shard-00001\.faiss"
    if how == "truncated":
        path.write_bytes(content[:-7])
        return rf"shard-00001\.faiss: got {len(content) - 7} bytes, expected {len(content)} .* truncated\?"
    if how == "damaged":
        path.write_bytes(content[:-7] + bytes(7))
        return r"shard-00001\.faiss: got a file of SHA-256 .* as the manifest says; damaged"
    if how == "foreign":
        shutil.copyfile(folder / "shard-00000.faiss", path)
        return r"shard-00001\.faiss: got (a file of SHA-256|\d+ bytes)"
    other = make_trained(scale=2)
    other.add(make_vectors(N // 3 + 1))
    drqfaiss.write_index(other, path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][1] |= {"bytes": path.stat().st_size, "sha256": drqfaiss.build.file_digest(path)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return r"shard-00001\.faiss: got a shard of another codebook"


@pytest.mark.parametrize("how", ["missing", "truncated", "damaged", "foreign", "another codebook"])
def test_a_shard_that_is_not_what_it_must_be_is_named(how, tmp_path):
    folder = make_shards(tmp_path / "s")
    first = drqfaiss.read_index(folder / "shard-00000.faiss")
    message = broken(folder, how)
    with pytest.raises((OSError, ValueError), match=message):
        opened(folder)
    with opened(folder, partial=True) as index:
        assert [*index.missing] == [str(folder / "shard-00001.faiss")]
        found = index.search(make_vectors(3), 5)
        assert found.missing == index.missing
        chosen = index.search(make_vectors(3), 5, only=range(first.ntotal))
        assert_same(chosen, first.search(make_vectors(3), 5))
        assert found.ids.max() >= 2 * N // 3  # Numbers are those of the whole.
        with pytest.raises(
            MissingShardsError, match=r"got no answer of 1 shards, expected all: .*shard-00001"
        ):
            index.search(make_vectors(3), 5, partial=False)
        for change in (lambda: index.add(make_vectors(1)), lambda: index.remove_ids([1]), index.save):
            with pytest.raises(MissingShardsError):
                change()


def test_nothing_at_all_is_no_partial_answer(tmp_path):
    folder = make_shards(tmp_path / "s", shards=1)
    (folder / "shard-00000.faiss").unlink()
    with pytest.raises(MissingShardsError):
        opened(folder, partial=True)
    with pytest.raises(ValueError, match="replicas: got 2, expected 1 without Ray"):
        opened(folder, replicas=2)


def test_a_found_pair_is_a_pair(tmp_path):
    with opened(make_shards(tmp_path / "s")) as index:
        D, ids = found = index.search(make_vectors(3), 5)
        assert D is found.distances
        assert ids is found.ids
        assert found.missing == {}
