import numpy as np
import pytest

import drqfaiss
from drqfaiss.distributed import Manifest, ShardedIndex, merge_shards
from tests.distributed.shards import KINDS, N, make_shards, make_trained, make_whole
from tests.indexes import make_vectors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shards", [1, 3])
def test_merged_shards_find_what_they_found(kind, shards, tmp_path):
    folder = make_shards(tmp_path / "s", kind, shards=7)
    manifest = merge_shards(folder, tmp_path / "merged", shards, ray=False)
    assert manifest == Manifest.read(tmp_path / "merged")
    assert (manifest.ntotal, len(manifest.shards)) == (N, shards)
    assert manifest.codebook == Manifest.read(folder).codebook
    if shards > 1:
        assert max(shard.vectors for shard in manifest.shards) < N // 2
    with ShardedIndex.open(tmp_path / "merged", ray=False) as index:
        found, expected = (
            index.search(make_vectors(7, 1), 10),
            make_whole(kind).search(make_vectors(7, 1), 10),
        )
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_folders_and_files_are_merged_in_order(tmp_path):
    delta = make_trained()
    delta.add(make_vectors(5, seed=4))
    drqfaiss.write_index(delta, tmp_path / "delta.faiss")
    folder = make_shards(tmp_path / "s")
    merge_shards([folder, tmp_path / "delta.faiss"], tmp_path / "merged", 2, ray=False)
    whole = make_whole()
    whole.add(make_vectors(5, seed=4))
    with ShardedIndex.open(tmp_path / "merged", ray=False) as index:
        np.testing.assert_array_equal(
            index.search(make_vectors(9, 1), 20)[1], whole.search(make_vectors(9, 1), 20)[1]
        )


def test_what_does_not_belong_together_is_named(tmp_path):
    folder, other = make_shards(tmp_path / "s"), make_trained(scale=2)
    other.add(make_vectors(3))
    drqfaiss.write_index(other, tmp_path / "other.faiss")
    with pytest.raises(ValueError, match=r"other\.faiss: got a shard of another codebook"):
        merge_shards([folder, tmp_path / "other.faiss"], tmp_path / "m", ray=False)
    with pytest.raises(
        ValueError, match=r"shard-00000\.faiss: got a shard whose ids are not as in the first"
    ):
        merge_shards([make_shards(tmp_path / "i", "ids"), folder], tmp_path / "m", ray=False)
    with pytest.raises(ValueError, match="sources: got none"):
        merge_shards([], tmp_path / "m", ray=False)
    with pytest.raises(ValueError, match="shards: got 4, expected 1 to 3"):
        merge_shards(folder, tmp_path / "m", 4, ray=False)
    with pytest.raises(ValueError, match="got a folder with a manifest, expected one without"):
        merge_shards(folder, folder, ray=False)
    assert not (tmp_path / "m" / "manifest.json").exists()
