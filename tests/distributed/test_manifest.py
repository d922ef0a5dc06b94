import json

import pytest

from drqfaiss.distributed import Manifest, ShardFile
from drqfaiss.distributed._manifest import numbered


def make_manifest(ids="rows", sizes=(3, 0, 2)):
    shards = [ShardFile(f"shard-{i:05}.faiss", n, 0, n - 1, 100, "aa") for i, n in enumerate(sizes)]
    return Manifest(16, "l2", "cc", ids, tuple(shards))


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    manifest = make_manifest()
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    assert manifest.ntotal == 5
    assert set(json.loads((tmp_path / "manifest.json").read_text())) == {
        *("format", "version", "drqfaiss", "faiss", "d", "metric", "codebook", "ids", "shards")
    }


def test_rows_are_counted_through_the_shards():
    spans = [(shard.first_id, shard.last_id) for shard in numbered(make_manifest()).shards]
    assert spans == [(0, 2), (-1, -1), (3, 4)]
    assert numbered(make_manifest("own")) == make_manifest("own")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "zip"}, "got format 'zip', expected 'drqfaiss.shards'"),
        ({"version": 9}, "got version 9, expected 1"),
        ({"shards": []}, r"got shards \[\], expected a list of files"),
        ({"shards": [3]}, "shard 0: got 3, expected an object"),
        ({"d": "16"}, "got d '16', expected int"),
        ({"ids": "mine"}, "ids: got 'mine', expected one of 'rows', 'own'"),
        ({"metric": "cosine"}, "metric: got 'cosine', expected one of"),
        ({"codebook": None}, "got codebook None, expected str"),
    ],
)
def test_damaged_manifests_are_refused(change, message, tmp_path):
    make_manifest().write(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("name", ["../x.faiss", "/etc/passwd", "", "a/b", ".hidden"])
def test_files_lie_in_the_folder(name, tmp_path):
    make_manifest().write(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace("shard-00002.faiss", name))
    with pytest.raises(ValueError, match=r"shard 2: got file .*, expected a name without a folder"):
        Manifest.read(tmp_path)


def test_a_file_that_is_named_twice_is_refused(tmp_path):
    make_manifest().write(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace("shard-00002", "shard-00001"))
    with pytest.raises(ValueError, match="expected each once"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\xff"])
def test_other_files_are_refused(text, tmp_path):
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"manifest\.json: "):
        Manifest.read(tmp_path)


def test_a_folder_without_a_manifest_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"manifest\.json"):
        Manifest.read(tmp_path)
