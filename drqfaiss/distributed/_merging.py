"""``merge_shards``: appends the codes of many small shards to each other; nothing is encoded again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from drqfaiss import _check
from drqfaiss._faiss.io import read_index, write_index
from drqfaiss.distributed._codec import codec_digest
from drqfaiss.distributed._contents import kind_of_ids, written
from drqfaiss.distributed._manifest import (
    MANIFEST,
    TRAINED,
    Manifest,
    ShardFile,
    numbered,
    shard_name,
)
from drqfaiss.distributed._sources import FileName
from drqfaiss.distributed._workers import shards_made, workers


@dataclass(frozen=True)
class _Input:
    """A file to merge, and how many vectors its manifest promises; None: it has none."""

    path: str
    vectors: int | None


def merge_shards(
    sources: FileName | Sequence[FileName],
    folder: FileName,
    shards: int = 1,
    *,
    ray: bool = True,
    address: str | None = None,
    progress: bool = True,
) -> Manifest:
    """Merge shards of one codebook into fewer, in a new folder; the sources stay as they are.

    Codes are copied, so searches find exactly what they found. Vectors keep their order, and ids of their
    own; ids that count through the shards count through the new ones.

    Args:
        sources: folders of shards, and index files, in the order of their vectors.
        folder: where the new shards and their manifest go; it must not hold a manifest.
        shards: number of new shards, at most as many as there are files.
        ray: False merges in this process, without Ray.
        address: of a Ray cluster to join, as `build_shards` has it.
        progress: whether to show a bar on stderr, if that is a terminal.

    Raises:
        ValueError: shards of different codebooks, some with and some without ids of their own, a damaged
            file, or a folder that is taken; names the file.
        ConnectionError: no cluster answers at the address.
        OSError: a file that cannot be read or written.
    """
    names = [sources] if isinstance(sources, str | os.PathLike) else [*sources]
    inputs = [found for name in names for found in _inputs(Path(os.path.abspath(name)))]
    if not inputs:
        raise ValueError("sources: got none, expected folders of shards or index files")
    shards = _check.integer("shards", shards, 1, len(inputs))
    place = Path(os.path.abspath(folder))
    if (place / MANIFEST).exists():
        raise ValueError(f"{place}: got a folder with a manifest, expected one without")
    place.mkdir(parents=True, exist_ok=True)
    makers = workers(ray, address, threads=1)
    first = read_index(inputs[0].path)
    codebook, ids = codec_digest(first), kind_of_ids(first)
    calls = [
        (place / shard_name(i), group, codebook, ids) for i, group in enumerate(_grouped(inputs, shards))
    ]
    merged = shards_made(makers, _merge, calls, "merging", shards, progress)
    first.reset()
    write_index(first, place / TRAINED)
    metric = _check.METRIC_NAMES[first.metric_type]
    manifest = numbered(Manifest(first.d, metric, codebook, ids, tuple(merged)))
    manifest.write(place)
    return manifest


def _inputs(path: Path) -> Iterator[_Input]:
    if not path.is_dir():
        yield _Input(str(path), None)
        return
    for shard in Manifest.read(path).shards:
        yield _Input(str(path / shard.file), shard.vectors)


def _grouped(inputs: list[_Input], shards: int) -> Iterator[list[_Input]]:
    """Yield successive files in groups of about as many vectors, none of them empty."""
    sizes = [read_index(item.path).ntotal if item.vectors is None else item.vectors for item in inputs]
    ends = np.searchsorted(np.cumsum(sizes), np.linspace(0, sum(sizes), shards + 1)[1:-1]) + 1
    bounds = [0]
    for i, end in enumerate(ends.tolist()):
        bounds.append(min(max(end, bounds[-1] + 1), len(inputs) - (shards - 1 - i)))
    return (inputs[a:b] for a, b in zip(bounds, [*bounds[1:], len(inputs)], strict=True))


def _merge(output: Path, group: list[_Input], codebook: str, ids: str) -> ShardFile:
    """Append files to each other, write the result and return what is in it."""
    whole: Any = None
    for item in group:
        index = read_index(item.path)
        _require_fitting(item, index, codebook, ids)
        if whole is None:
            whole = index
        else:
            whole.merge_from(index, 0)
    return written(whole, output)


def _require_fitting(item: _Input, index: faiss.Index, codebook: str, ids: str) -> None:
    found = codec_digest(index)
    if found != codebook:
        raise ValueError(
            f"{item.path}: got a shard of another codebook ({found[:12]}), expected {codebook[:12]} as in "
            "the first"
        )
    if kind_of_ids(index) != ids:
        raise ValueError(f"{item.path}: got a shard whose ids are not as in the first, expected {ids} ids")
    if item.vectors is not None and index.ntotal != item.vectors:
        raise ValueError(
            f"{item.path}: got {index.ntotal} vectors, expected {item.vectors} as its manifest says"
        )
