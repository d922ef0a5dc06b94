"""Labelled images: CIFAR-10 in its usual forms, folders of classes, lists of files; and augmentation."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drqfaiss._files import write_array, writing

CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_ROW = 1 + 3 * 32 * 32  # Bytes of a label and its pixels.
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm"}
SHOWN_NAMES = 5
GREY = 127  # Of squares that are cut out.

Source = Path | bytes


@dataclass
class Images:
    """Images of one size and their labels.

    Attributes:
        pixels: (n, 3, size, size) uint8, memory-mapped if they were cached in a file.
        labels: (n,) of classes, or (n, C) of zeros and ones.
        names: Of the classes.
    """

    pixels: np.ndarray
    labels: np.ndarray
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.pixels)


def read_cifar10(path: str | Path, skip_unreadable: bool = False) -> Images:
    """Read CIFAR-10 from one of the forms it comes in, training images first where the form tells.

    Args:
        path: A folder of the standard binary files (data_batch_1.bin … test_batch.bin), a folder with a
            folder of images per class, anywhere inside (train/cat/1.png, test/cat/2.png …), or an .npz file
            of JPEGs: `bytes` cut at `offsets`, each after the common `prefix`, and `labels`.
        skip_unreadable: Whether to leave out images that cannot be read, with a warning.

    Raises:
        FileNotFoundError: No such data.
        ValueError: A truncated file, a label out of range, images that cannot be read.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return _read_jpeg_archive(path, skip_unreadable)
    binaries = sorted(path.rglob("*_batch*.bin"))
    if binaries:
        parts = [_read_cifar10_binary(file) for file in binaries]
        pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Images(pixels, labels, CIFAR10_NAMES)
    images = read_folder(path, 32, skip_unreadable)
    if len(images.names) != 10:
        raise ValueError(
            f"{path}: got {len(images.names)} classes {images.names}, expected the 10 of CIFAR-10"
        )
    return images


def read_folder(
    path: str | Path, size: int, skip_unreadable: bool = False, cache: Path | None = None
) -> Images:
    """Read images whose class is the name of the folder they are in.

    Args:
        path: Folder with class folders at any depth.
        size: Width and height that images are scaled to.
        skip_unreadable: Whether to leave out images that cannot be read, with a warning.
        cache: .npy file to keep the pixels in, for data larger than memory.

    Raises:
        FileNotFoundError: No images.
        ValueError: Images that cannot be read, named.
    """
    files = sorted(file for file in Path(path).rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{path}: no images ({', '.join(sorted(SUFFIXES))}) in folders of classes")
    names = sorted({file.parent.name for file in files})
    number = {name: i for i, name in enumerate(names)}
    labels = np.array([number[file.parent.name] for file in files])
    return decode(files, labels, names, size, skip_unreadable, cache)


def read_lists(
    folder: str | Path,
    lists: Iterable[str],
    size: int,
    skip_unreadable: bool = False,
    cache: Path | None = None,
) -> tuple[Images, np.ndarray]:
    """Read NUS-WIDE, ImageNet-100 and others that come as images and text files of splits.

    Args:
        folder: What the paths in the lists are relative to.
        lists: Text files in the folder, "database.txt" for example, one image per line: its path, then a
            zero or one for every class. Blank lines are skipped.
        size: Width and height that images are scaled to.
        skip_unreadable: Whether to leave out images that cannot be read, with a warning.
        cache: .npy file to keep the pixels in, for data larger than memory.

    Returns:
        Images of all lists, with label matrices (n, C); (n,) the number of the list that each is from.

    Raises:
        FileNotFoundError: No such list.
        ValueError: A malformed line, or images that cannot be read, named.
    """
    folder = Path(folder)
    files, rows, origin = [], [], []
    for number, name in enumerate(lists):
        for file, row in _read_list(folder / name):
            files.append(folder / file)
            rows.append(row)
            origin.append(number)
    if len({len(row) for row in rows}) != 1:
        raise ValueError(
            f"{folder}: got lines with {sorted({len(row) for row in rows})} classes, expected as many in all"
        )
    labels = np.array(rows, np.uint8)
    both = np.concatenate([labels, np.array(origin, np.uint8)[:, None]], 1)
    images = decode(files, both, [str(i) for i in range(labels.shape[1])], size, skip_unreadable, cache)
    images.labels, kept_origin = images.labels[:, :-1], images.labels[:, -1]
    return images, kept_origin


def _read_list(path: Path) -> Iterable[tuple[str, list[int]]]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        file, *marks = line.split()
        if not marks or not set(marks) <= {"0", "1"}:
            raise ValueError(f"{path}: line {number}: expected a path and a 0 or 1 for every class")
        yield file, [int(mark) for mark in marks]


def decode(
    sources: Sequence[Source],
    labels: np.ndarray,
    names: Sequence[str],
    size: int,
    skip_unreadable: bool = False,
    cache: Path | None = None,
    progress: Callable[..., Any] = iter,
) -> Images:
    """Decode images, scale them to size × size and collect them.

    Args:
        sources: Files, or their contents.
        labels: array (n,) or (n, C), of the sources.
        names: Of the classes.
        size: Width and height that images are scaled to.
        skip_unreadable: Whether to leave out images that cannot be read, with a warning.
        cache: .npy file to keep the pixels in; if it exists, it is read instead. Which images they are of is
            kept beside it: contents, or names, sizes and times of change of files; and which of them could
            not be read.
        progress: Wraps the sources, `tqdm` for example.

    Raises:
        ValueError: Images that cannot be read, named; a cache of other images.
    """
    cached = cache if cache is not None and cache.exists() else None
    if cached is not None:
        pixels, unreadable = _cached(cached, sources, size)
    else:
        pixels, unreadable = _decode_all(sources, size, cache, progress)
    if unreadable:
        _complain(list(unreadable.values()), skip_unreadable and len(pixels) > 0, cache)
    if cache is not None and cached is None:
        pixels = _keep(cache, pixels, sources, unreadable)
    kept = np.setdiff1d(np.arange(len(sources)), list(unreadable))
    return Images(pixels, labels[kept], names)


def _decode_all(
    sources: Sequence[Source], size: int, cache: Path | None, progress: Callable[..., Any]
) -> tuple[np.ndarray, dict[int, str]]:
    """Return the pixels of all readable images, and why others, by number, are not."""
    shape = (len(sources), 3, size, size)
    if cache is None:
        pixels = np.empty(shape, np.uint8)
    else:
        pixels = np.lib.format.open_memmap(_unfinished(cache), "w+", np.uint8, shape)
    unreadable: dict[int, str] = {}
    for i, source in enumerate(progress(sources)):
        try:
            pixels[i - len(unreadable)] = _decode_one(source, size)
        except (OSError, ValueError, SyntaxError) as error:  # Pillow raises these for damaged files.
            unreadable[i] = f"{source if isinstance(source, Path) else f'image {i}'} ({error})"
    return pixels[: len(sources) - len(unreadable)], unreadable


def _keep(
    cache: Path, pixels: np.ndarray, sources: Sequence[Source], unreadable: dict[int, str]
) -> np.ndarray:
    """Make the unfinished file the cache, and return the pixels from there."""
    if unreadable:  # The file has room for these, too.
        with writing(_unfinished(cache)) as file:
            write_array(file, pixels)
    with writing(_fingerprint_file(cache)) as file:
        file.write(f"{_fingerprint(sources)}\n{json.dumps(unreadable)}\n".encode())
    _unfinished(cache).replace(cache)
    return np.load(cache, mmap_mode="r", allow_pickle=False)


def _unfinished(cache: Path) -> Path:
    """Where a cache is while it has holes, which a run that is killed must not leave in it."""
    return cache.with_name(f"{cache.name}.unfinished")


def _fingerprint_file(cache: Path) -> Path:
    return cache.with_name(f"{cache.name}.sources")


def _fingerprint(sources: Sequence[Source]) -> str:
    """Return a digest that other images, or the same in another order, do not have."""
    digest = hashlib.sha256()
    for source in sources:
        if isinstance(source, bytes):
            digest.update(hashlib.sha256(source).digest())
        else:
            state = source.stat()
            digest.update(f"{source} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _decode_one(source: Source, size: int) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        image = image.convert("RGB")
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(image).transpose(2, 0, 1)


def _complain(unreadable: list[str], skip: bool, cache: Path | None) -> None:
    shown = "; ".join(unreadable[:SHOWN_NAMES]) + (" …" if len(unreadable) > SHOWN_NAMES else "")
    message = f"{len(unreadable)} images cannot be read: {shown}"
    if not skip:
        if cache is not None:
            _unfinished(cache).unlink(missing_ok=True)
        raise ValueError(f"{message}, expected readable ones, or skip_unreadable")
    warnings.warn(f"{message}; left out", stacklevel=3)


def _cached(cache: Path, sources: Sequence[Source], size: int) -> tuple[np.ndarray, dict[int, str]]:
    """Return what `_decode_all` did, from the file."""
    pixels = np.load(cache, mmap_mode="r", allow_pickle=False)
    file = _fingerprint_file(cache)
    fingerprint, _, reasons = (file.read_text() if file.exists() else "").partition("\n")
    unreadable = {int(i): reason for i, reason in json.loads(reasons or "{}").items()}
    shape = (len(sources) - len(unreadable), 3, size, size)
    if pixels.shape != shape:
        raise ValueError(f"{cache}: got pixels of shape {pixels.shape}, expected {shape}; remove the file")
    if fingerprint != _fingerprint(sources):
        raise ValueError(
            f"{cache}: got pixels of other images, expected those of these {len(sources)}; remove the file"
        )
    return pixels, unreadable


def _read_cifar10_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = np.fromfile(path, np.uint8)
    if len(content) == 0 or len(content) % CIFAR10_ROW:
        raise ValueError(
            f"{path}: got {len(content)} bytes, expected a multiple of {CIFAR10_ROW}; truncated?"
        )
    rows = content.reshape(-1, CIFAR10_ROW)
    labels = rows[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise ValueError(f"{path}: got label {labels.max()} of image {labels.argmax()}, expected 0 to 9")
    return rows[:, 1:].reshape(-1, 3, 32, 32), labels


def _read_jpeg_archive(path: Path, skip_unreadable: bool) -> Images:
    with np.load(path, allow_pickle=False) as archive:
        missing = {"prefix", "bytes", "offsets", "labels"} - set(archive)
        if missing:
            raise ValueError(
                f"{path}: got no {sorted(missing)}, expected JPEGs as bytes, offsets, prefix, labels"
            )
        prefix, content = archive["prefix"].tobytes(), archive["bytes"].tobytes()
        offsets, labels = archive["offsets"], archive["labels"].astype(np.int64)
    if len(offsets) != len(labels) + 1 or offsets[-1] != len(content):
        raise ValueError(f"{path}: {len(offsets)} offsets for {len(labels)} labels, up to {offsets[-1]}")
    files = [prefix + content[a:b] for a, b in pairwise(offsets.tolist())]
    return decode(files, labels, CIFAR10_NAMES, 32, skip_unreadable)


def crop_and_flip(padding: int = 4, cut: int = 0) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Return an augmentation: shifts up to `padding` pixels, mirrored at the edges, and flips of every other.

    It works on uint8 batches (n, 3, h, w) on their device, with a generator there.

    Args:
        padding: Pixels of the largest shift.
        cut: Width in pixels of a square that is painted grey somewhere in every image, partly outside maybe:
            DeVries and Taylor, "Improved Regularization with Cutout", 2017. 0: none.
    """

    def augment(images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        device = images.device
        shift = torch.randint(-padding, padding + 1, (2, n, 1), generator=generator, device=device)
        flip = torch.rand(n, 1, generator=generator, device=device) < 0.5
        y = _mirrored(torch.arange(height, device=device) + shift[0], height)
        x = _mirrored(torch.arange(width, device=device) + shift[1], width)
        x = torch.where(flip, width - 1 - x, x)
        sample = torch.arange(n, device=device)[:, None, None]
        # Pixels last while they are gathered: one move per pixel instead of one per channel.
        moved = images.permute(0, 2, 3, 1)[sample, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
        return _with_squares(moved, cut, generator) if cut else moved

    return augment


def _with_squares(images: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Return images with a grey square each, its first corner anywhere from outside to the last pixel."""
    n, _, *size = images.shape
    device = images.device
    inside = []
    for length in size:
        first = torch.randint(1 - width, length, (n, 1), generator=generator, device=device)
        position = torch.arange(length, device=device)
        inside.append((position >= first) & (position < first + width))
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], GREY)


def _mirrored(position: Tensor, size: int) -> Tensor:
    position = position.abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position)
