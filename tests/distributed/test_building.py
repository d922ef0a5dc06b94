import hashlib

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss.distributed import Manifest, _building, build_shards
from tests.distributed.shards import KINDS, N, make_data, make_shards, make_trained, make_whole, own_ids
from tests.indexes import codes_of, make_codebooks, make_vectors


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_says_what_the_shards_hold(kind, tmp_path):
    folder = make_shards(tmp_path / "s", kind)
    manifest = Manifest.read(folder)
    assert (manifest.d, manifest.metric, manifest.ntotal) == (16, "l2", N)
    assert manifest.ids == ("rows" if kind == "flat" else "own")
    assert {path.name for path in folder.iterdir()} == {
        *("manifest.json", "trained.faiss"),
        *(shard.file for shard in manifest.shards),
    }
    first = 0
    for shard in manifest.shards:
        content = (folder / shard.file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (shard.bytes, shard.sha256)
        ids = own_ids() if kind == "ids" else np.arange(N)
        held = ids[first : first + shard.vectors]
        assert (shard.first_id, shard.last_id) == (held.min(), held.max())
        assert drqfaiss.read_index(folder / shard.file).ntotal == shard.vectors
        first += shard.vectors


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_those_of_one_index(kind, tmp_path):
    folder, whole = make_shards(tmp_path / "s", kind), make_whole(kind)
    shards = [drqfaiss.read_index(folder / shard.file) for shard in Manifest.read(folder).shards]
    one = shards[0]
    for shard in shards[1:]:
        one.merge_from(shard, 0)
    np.testing.assert_array_equal(faiss.serialize_index(one), faiss.serialize_index(whole))


def test_what_is_there_is_not_built_again(tmp_path, monkeypatch):
    folder = make_shards(tmp_path / "s")
    before = contents(folder)
    monkeypatch.setattr(_building, "build_index", None)
    make_shards(folder)
    assert contents(folder) == before


@pytest.mark.parametrize("killed_in", [1, 2, 3])
def test_finished_shards_are_kept_when_a_build_is_interrupted(killed_in, tmp_path, monkeypatch):
    expected = contents(make_shards(tmp_path / "whole"))
    built = []

    def counted(trained, vectors, output, **options):
        built.append(output.name)
        if len(built) == killed_in:
            raise KeyboardInterrupt
        return build(trained, vectors, output, **options)

    build = _building.build_index
    monkeypatch.setattr(_building, "build_index", counted)
    with pytest.raises(KeyboardInterrupt):
        make_shards(tmp_path / "s")
    make_shards(tmp_path / "s")
    assert len(built) == 4  # Three shards, and the one that was interrupted.
    assert contents(tmp_path / "s") == expected


def test_a_shard_is_noted_before_it_is_there(tmp_path, monkeypatch):
    """Killed right after the file has appeared, it is not encoded again."""
    expected = contents(make_shards(tmp_path / "whole"))
    remove = drqfaiss.build._remove
    monkeypatch.setattr(drqfaiss.build, "_remove", lambda work: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_shards(tmp_path / "s")
    monkeypatch.setattr(drqfaiss.build, "_remove", remove)
    encoded = []
    add = drqfaiss.build.add_vectors
    monkeypatch.setattr(drqfaiss.build, "add_vectors", lambda *given: encoded.append(1) or add(*given))
    make_shards(tmp_path / "s")
    assert len(encoded) == 2  # of three shards
    assert contents(tmp_path / "s") == expected


def test_iterators_give_the_same_shards_as_files(tmp_path):
    x = make_data()
    make_shards(tmp_path / "files", shards=5)
    arrays = (x[i : i + 37] for i in range(0, N, 37))
    build_shards(make_trained(), arrays, tmp_path / "arrays", shard_rows=N // 5, ray=False)
    of_files, of_arrays = contents(tmp_path / "files"), contents(tmp_path / "arrays")
    assert {name for name in of_files if of_files[name] == of_arrays[name]} >= {
        *("trained.faiss", "shard-00000.faiss", "shard-00004.faiss")
    }


def test_an_untrained_index_learns_from_all_files_once(tmp_path):
    for i in range(2):
        np.save(tmp_path / f"x{i}.npy", make_vectors(300, seed=i) + 20 * i)
    arguments = (str(tmp_path / "x*.npy"), tmp_path / "s", 2)
    index = faiss.IndexPQ(16, 4, 4)  # It trains quickly.
    build_shards(index, *arguments, ray=False)
    assert not index.is_trained  # The user's own stays as it was.
    x = np.concatenate([make_vectors(300, seed=i) + 20 * i for i in range(2)])
    same = faiss.IndexPQ(16, 4, 4)
    same.train(x)
    trained = drqfaiss.read_index(tmp_path / "s" / "trained.faiss")
    np.testing.assert_array_equal(trained.sa_encode(x), same.sa_encode(x))
    before = contents(tmp_path / "s")
    build_shards(index, *arguments, ray=False)
    assert contents(tmp_path / "s") == before


def test_normalized_vectors_are(tmp_path):
    np.save(tmp_path / "x.npy", 7 * make_data())
    folder = tmp_path / "s"
    build_shards(make_trained(), tmp_path / "x.npy", folder, 1, normalize=True, ray=False)
    x = 7 * make_data()
    faiss.normalize_L2(x)
    expected = make_trained().sa_encode(x)
    found = codes_of(drqfaiss.read_index(folder / "shard-00000.faiss"))
    np.testing.assert_array_equal(found[: expected.size], expected.ravel())


def test_shards_of_other_vectors_or_another_index_are_not_taken(tmp_path):
    folder = make_shards(tmp_path / "s")
    before = contents(folder)
    np.save(tmp_path / "other.npy", make_vectors(N, seed=9))
    arguments = {"ray": False, "progress": False}
    with pytest.raises(ValueError, match=r"shard-00000\.faiss: got other vectors"):
        build_shards(make_trained(), tmp_path / "other.npy", folder, 3, **arguments)
    with pytest.raises(ValueError, match=r"shard-00000\.faiss: got other vectors"):
        build_shards(make_trained(), tmp_path / "s.npy", folder, 2, **arguments)
    with pytest.raises(ValueError, match=r"trained\.faiss: got another trained index"):
        build_shards(make_trained(scale=2), tmp_path / "s.npy", folder, 3, **arguments)
    assert contents(folder) == before
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "shard-00000.faiss").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"shard-00000\.faiss: got a file that no build of this folder"):
        build_shards(make_trained(), tmp_path / "s.npy", tmp_path / "t", 3, **arguments)
    assert (tmp_path / "t" / "shard-00000.faiss").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shards": None}, "shards: got None and shard_rows None, expected one of them"),
        ({"shards": N + 1}, f"shards: got {N + 1}, expected 1 to {N}"),
        ({"threads": 0}, "threads: got 0, expected at least 1"),
        ({"ids": np.arange(3)}, rf"ids: got shape \(3,\), expected \({N},\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, tmp_path):
    np.save(tmp_path / "x.npy", make_data())
    given = {"shards": 2, **arguments}
    with pytest.raises(ValueError, match=message):
        build_shards(make_trained(), tmp_path / "x.npy", tmp_path / "s", ray=False, **given)


def test_an_index_that_does_not_fit_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 5), np.float32))
    with pytest.raises(ValueError, match="vectors: got 5 dimensions, expected 16 as the index has"):
        build_shards(make_trained(), tmp_path / "x.npy", tmp_path / "s", 2, ray=False)
    filled = drqfaiss.IndexDRQ.from_codebooks(make_codebooks())
    filled.add(make_vectors(2))
    with pytest.raises(ValueError, match="trained: got an index of 2 vectors, expected an empty one"):
        build_shards(filled, [make_vectors(3)], tmp_path / "s", shard_rows=2, ray=False)


def test_what_is_not_finite_is_named(tmp_path):
    x = make_data()
    x[400, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(
        ValueError, match=r"x\.npy: got 1 values that are NaN or infinite, the first at \(400, 3\)"
    ):
        build_shards(make_trained(), tmp_path / "x.npy", tmp_path / "s", 3, ray=False)
