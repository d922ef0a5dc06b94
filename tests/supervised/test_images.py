"""Labelled images in every form, and every way they can be wrong."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from drqfaiss.supervised.images import (
    CIFAR10_NAMES,
    crop_and_flip,
    decode,
    read_cifar10,
    read_folder,
    read_lists,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
LABELS = np.arange(20) % 10


def picture(pixels):
    return Image.fromarray(pixels.transpose(1, 2, 0))


def content(pixels, form="PNG"):
    file = io.BytesIO()
    picture(pixels).save(file, form)
    return file.getvalue()


def write_binaries(folder, labels=LABELS):
    rows = np.concatenate([labels[:, None].astype(np.uint8), PIXELS.reshape(20, -1)], 1)
    rows[:12].tofile(folder / "data_batch_1.bin")
    rows[12:].tofile(folder / "test_batch.bin")


def write_folder(folder):
    for i in range(20):
        file = folder / ("train" if i < 10 else "test") / CIFAR10_NAMES[LABELS[i]] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(PIXELS[i]).save(file)


def write_archive(path, **changes):
    files = [content(pixels) for pixels in PIXELS]
    arrays = {
        "prefix": np.frombuffer(files[0][:8], np.uint8),  # the signature that all of them begin with
        "bytes": np.frombuffer(b"".join(file[8:] for file in files), np.uint8),
        "offsets": np.cumsum([0] + [len(file) - 8 for file in files]),
        "labels": LABELS,
    }
    np.savez(path, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})


def test_binary_files(tmp_path):
    write_binaries(tmp_path)
    images = read_cifar10(tmp_path)
    np.testing.assert_array_equal(images.pixels, PIXELS)
    np.testing.assert_array_equal(images.labels, LABELS)


def test_folders_of_classes(tmp_path):
    write_folder(tmp_path)
    images = read_cifar10(tmp_path)
    assert tuple(images.names) == CIFAR10_NAMES
    for pixels, label in zip(images.pixels, images.labels, strict=True):
        (i,) = np.flatnonzero((pixels == PIXELS).all((1, 2, 3)))
        assert LABELS[i] == label


def test_archive_of_files(tmp_path):
    write_archive(tmp_path / "x.npz")
    images = read_cifar10(tmp_path / "x.npz")
    np.testing.assert_array_equal(images.pixels, PIXELS)
    np.testing.assert_array_equal(images.labels, LABELS)


def test_lists_with_labels(tmp_path):
    for i in range(3):
        picture(PIXELS[i]).save(tmp_path / f"{i}.png")
    (tmp_path / "database.txt").write_text("0.png 1 0\n\n2.png 1 1\n \n")
    (tmp_path / "test.txt").write_text("1.png 0 1\n")
    cache = tmp_path / "pixels.npy"
    for _ in range(2):  # decoded, then from the cache
        images, origin = read_lists(tmp_path, ["database.txt", "test.txt"], 32, cache=cache)
        np.testing.assert_array_equal(images.pixels, PIXELS[[0, 2, 1]])
        assert images.labels.tolist() == [[1, 0], [1, 1], [0, 1]]
        assert origin.tolist() == [0, 0, 1]
    assert cache.exists()


def test_images_are_scaled():
    images = decode([content(np.full((3, 40, 20), 9, np.uint8))], np.zeros(1, int), ["a"], 16)
    np.testing.assert_array_equal(images.pixels, np.full((1, 3, 16, 16), 9))


def test_unreadable_images_are_named(tmp_path):
    write_folder(tmp_path)
    damaged = tmp_path / "train" / "cat" / "3.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"1 images cannot be read: .*cat/3\.png.* expected readable ones"):
        read_folder(tmp_path, 32)
    with pytest.warns(UserWarning, match=r"1 images cannot be read: .*cat/3\.png.*; left out"):
        images = read_folder(tmp_path, 32, skip_unreadable=True)
    assert len(images) == len(images.labels) == 19


def test_a_cache_with_holes_is_removed(tmp_path):
    cache = tmp_path / "pixels.npy"
    with pytest.raises(ValueError, match="image 1"):
        decode([content(PIXELS[0]), b"no image"], np.zeros(2, int), ["a"], 32, cache=cache)
    assert not cache.exists()


def test_a_cache_leaves_unreadable_images_out(tmp_path):
    cache = tmp_path / "pixels.npy"
    sources = [content(PIXELS[0]), b"no image", content(PIXELS[2])]
    arguments = (np.arange(3), ["a", "b", "c"], 32)
    changed = []
    for _ in range(2):  # decoded, then from the cache
        with pytest.warns(UserWarning, match="1 images cannot be read: image 1 .*; left out"):
            images = decode(sources, *arguments, skip_unreadable=True, cache=cache)
        np.testing.assert_array_equal(images.pixels, PIXELS[[0, 2]])
        assert images.labels.tolist() == [0, 2]
        assert isinstance(images.pixels, np.memmap)
        changed.append(cache.stat().st_mtime_ns)
    assert changed[0] == changed[1]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pixels.npy", "pixels.npy.sources"]
    with pytest.raises(ValueError, match=r"1 images cannot be read: image 1 .*, or skip_unreadable"):
        decode(sources, *arguments, cache=cache)
    with pytest.raises(ValueError, match="pixels of other images, expected those of these 3; remove"):
        decode(sources[::-1], *arguments, skip_unreadable=True, cache=cache)


def test_nothing_but_unreadable_images(tmp_path):
    with pytest.raises(ValueError, match="1 images cannot be read: image 0"):
        decode([b"no image"], np.zeros(1, int), ["a"], 32, True, tmp_path / "pixels.npy")
    assert not list(tmp_path.iterdir())


def test_a_cache_of_other_images(tmp_path):
    cache = tmp_path / "pixels.npy"
    np.save(cache, np.zeros((3, 3, 32, 32), np.uint8))
    with pytest.raises(ValueError, match=r"pixels of shape \(3, 3, 32, 32\), expected \(1, 3, 32, 32\)"):
        decode([content(PIXELS[0])], np.zeros(1, int), ["a"], 32, cache=cache)
    cache.unlink()
    decode([content(PIXELS[0])], np.zeros(1, int), ["a"], 32, cache=cache)
    with pytest.raises(ValueError, match="pixels of other images, expected those of these 1; remove"):
        decode([content(PIXELS[1])], np.zeros(1, int), ["a"], 32, cache=cache)


def test_a_cache_of_files_that_changed(tmp_path):
    file, cache = tmp_path / "0.png", tmp_path / "pixels.npy"
    picture(PIXELS[0]).save(file)
    decode([file], np.zeros(1, int), ["a"], 32, cache=cache)
    decode([file], np.zeros(1, int), ["a"], 32, cache=cache)
    os.utime(file, ns=(0, 0))
    with pytest.raises(ValueError, match="pixels of other images"):
        decode([file], np.zeros(1, int), ["a"], 32, cache=cache)


def test_bad_data(tmp_path):
    with pytest.raises(FileNotFoundError, match="no images"):
        read_cifar10(tmp_path)
    write_binaries(tmp_path, labels=np.where(LABELS == 9, 12, LABELS))
    with pytest.raises(ValueError, match=r"data_batch_1\.bin: got label 12 of image 9, expected 0 to 9"):
        read_cifar10(tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"data_batch_1\.bin: got 5 bytes, expected a multiple of 3073"):
        read_cifar10(tmp_path)
    write_archive(tmp_path / "x.npz", offsets=None)
    with pytest.raises(ValueError, match=r"no \['offsets'\]"):
        read_cifar10(tmp_path / "x.npz")
    write_archive(tmp_path / "x.npz", labels=LABELS[:5])
    with pytest.raises(ValueError, match="21 offsets for 5 labels"):
        read_cifar10(tmp_path / "x.npz")


def test_bad_lists(tmp_path):
    (tmp_path / "database.txt").write_text("0.png 1 0\n1.png 1 x\n")
    with pytest.raises(ValueError, match=r"database\.txt: line 2: expected a path and a 0 or 1"):
        read_lists(tmp_path, ["database.txt"], 32)
    (tmp_path / "database.txt").write_text("0.png 1 0\n\n1.png\n")
    with pytest.raises(ValueError, match=r"database\.txt: line 3: expected a path and a 0 or 1"):
        read_lists(tmp_path, ["database.txt"], 32)
    (tmp_path / "database.txt").write_text("0.png 1 0\n1.png 1\n")
    with pytest.raises(ValueError, match=r"lines with \[1, 2\] classes"):
        read_lists(tmp_path, ["database.txt"], 32)


def test_crops_and_flips_move_whole_images():
    images = torch.from_numpy(PIXELS)
    augmented = crop_and_flip(2)(images, torch.Generator().manual_seed(0)).numpy()
    padded = np.pad(PIXELS, ((0, 0), (0, 0), (2, 2), (2, 2)), "reflect")
    flipped = 0
    for i in range(20):
        for mirrored in (False, True):
            source = padded[i, :, :, ::-1] if mirrored else padded[i]
            crops = [source[:, y : y + 32, x : x + 32] for y in range(5) for x in range(5)]
            if any((crop == augmented[i]).all() for crop in crops):
                flipped += mirrored
                break
        else:
            pytest.fail(f"image {i} is no crop of itself")
    assert 4 <= flipped <= 16
    again = crop_and_flip(2)(images, torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_array_equal(augmented, again)
