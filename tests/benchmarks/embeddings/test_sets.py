"""Which embeddings there are, and how they are cut."""

import numpy as np
import pytest

from benchmarks.embeddings import encoders, sets


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("minilm_base", 300), ("minilm_query", 20), ("glosses", 32_000)):
        x = rng.normal(size=(count, 8))
        np.save(tmp_path / f"{name}.npy", x / np.linalg.norm(x, axis=1, keepdims=True))
    return tmp_path


def test_a_folder_has_the_sets_whose_files_it_holds(folder):
    assert sets.names(folder) == ["minilm"]
    (folder / "cifar10_jpeg.npz").touch()
    assert sets.names(folder) == ["minilm", "photographs"]
    assert sets.names(folder / "minilm_base.npy") == [str(folder / "minilm_base.npy")]
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="got a folder without embeddings, expected one of minilm_base"):
        sets.names(folder / "empty")


def test_learn_vectors_are_drawn_from_the_base(folder):
    data = sets.load("minilm", folder, folder)
    assert (data.learn.shape, data.base.shape, data.query.shape) == ((300, 8), (300, 8), (20, 8))
    np.testing.assert_array_equal(data.base, np.load(folder / "minilm_base.npy").astype(np.float32))
    np.testing.assert_array_equal(np.sort(data.learn, axis=0), np.sort(data.base, axis=0))
    nearest = (data.query @ data.base.T).argmax(1)
    np.testing.assert_array_equal(data.groundtruth[:, 0], nearest)
    assert data.groundtruth.shape == (20, 100)


def test_embeddings_that_were_made_are_kept_and_cut_into_parts_of_their_own(folder):
    data = sets.load("glosses", folder, folder)  # from glosses.npy: there is no text to embed
    whole = np.load(folder / "glosses.npy").astype(np.float32)
    parts = np.concatenate([data.learn, data.base, data.query])
    assert (len(data.learn), len(data.query)) == (30_000, 1_000)
    np.testing.assert_array_equal(parts[np.lexsort(parts.T)], whole[np.lexsort(whole.T)])


def test_glosses_are_what_follows_the_bar(tmp_path):
    lines = [f"  {i} licence" for i in range(1, encoders.WORDNET_LICENCE_LINES + 1)]
    lines += ['02124272 05 n 01 cat 0 002 @ 02123649 n 0000 | feline mammal; "a | b"  ', "1 2 | two"]
    (tmp_path / "data.noun").write_text("\n".join(lines))
    assert encoders.glosses(tmp_path / "data.noun") == ['feline mammal; "a | b"', "two"]
