"""``build_shards``: cuts vectors into parts and encodes each into a file, where Ray has room for it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from drqfaiss import _check
from drqfaiss._faiss.clone import clone_index
from drqfaiss._faiss.ids import keeps_ids
from drqfaiss._faiss.io import read_index, write_index
from drqfaiss._files import writing
from drqfaiss._threads import on_threads
from drqfaiss.build import CHUNK_ROWS, build_index, file_digest, sampled
from drqfaiss.distributed._codec import codec_digest
from drqfaiss.distributed._contents import kind_of_ids
from drqfaiss.distributed._manifest import (
    MANIFEST,
    NO_IDS,
    OWN,
    TRAINED,
    Manifest,
    ShardFile,
    numbered,
    read_object,
    shard_file,
    shard_name,
    span_of,
)
from drqfaiss.distributed._sources import FileName, Part, Source, source_of
from drqfaiss.distributed._workers import shards_made, workers

LEARN = 262_144
NOTE = ".json"  # What a shard's build has noted, beside the file, until the manifest says it.


def build_shards(
    trained: FileName | faiss.Index,
    vectors: Any,
    folder: FileName,
    shards: int | None = None,
    *,
    shard_rows: int | None = None,
    ids: Any = None,
    column: str = "vector",
    learn: int = LEARN,
    normalize: bool = False,
    chunk: int = CHUNK_ROWS,
    ray: bool = True,
    address: str | None = None,
    threads: int = 1,
    progress: bool = True,
) -> Manifest:
    """Encode vectors into a folder of shards, in Ray tasks on all machines that mount the folder.

    Call it again with the same arguments after whatever interrupted it: finished shards are not encoded
    again, files that were interrupted go on from their last checkpoint, and the folder ends the same, bit for
    bit. The manifest appears when all is done.

    Args:
        trained: file of a trained, empty index, or an index. One that is not trained learns from a sample of
            all vectors, unless the folder holds what an earlier call trained.
        vectors: a file as `datasets.open_vectors` names it, a pattern (``x-*.npy``), a list of these; an
            iterable of arrays (n, d), or of pairs of vectors and ids; or a Ray Dataset.
        folder: where shards and manifest go; it is made.
        shards: number of shards, at most n; not for iterables, which have no length.
        shard_rows: instead, vectors of a shard.
        ids: the vectors' own ids: an array (n,), a file of them (.npy), or the name of a Dataset's column;
            None: vectors are numbered.
        column: the Dataset's column of vectors.
        learn: vectors to train on; of an iterable its first.
        normalize: divide vectors by their norm.
        chunk: rows encoded at a time.
        ray: False builds one shard after the other in this process, without Ray.
        address: of a Ray cluster to join; None starts one on this machine, unless ``ray.init`` was called.
        threads: threads, and Ray's CPUs, of each task.
        progress: whether to show a bar on stderr, if that is a terminal.

    Raises:
        TypeError, ValueError: naming the argument and what was expected; also for a folder that holds shards
            of other vectors or another trained index, in which nothing is touched.
        ConnectionError: no cluster answers at the address.
        OSError: a file that cannot be read or written.
    """
    threads, chunk = _check.integer("threads", threads, 1), _check.integer("chunk", chunk, 1)
    makers = workers(ray, address, threads)
    source = source_of(vectors, ids, column)
    place = Path(os.path.abspath(folder))
    place.mkdir(parents=True, exist_ok=True)
    about = _prepare(trained, source, place, learn, normalize)
    before = {shard.file: shard for shard in about.shards}
    options = {"normalize": normalize, "chunk": chunk, "threads": threads}
    calls = (
        (place, name, part, first if about.ids == OWN else None, before.get(name), options)
        for name, part, first in _numbered(source, shards, shard_rows)
    )
    built = shards_made(makers, _build, calls, "encoding", shards, progress)
    return _finish(place, replace(about, shards=tuple(built)))


def _prepare(
    trained: FileName | faiss.Index, source: Source, place: Path, learn: int, normalize: bool
) -> Manifest:
    """Put the trained index into the folder; return the manifest there is, else one without shards."""
    index = clone_index(trained) if isinstance(trained, faiss.Index) else read_index(trained)
    if index.d != source.d:
        raise ValueError(f"vectors: got {source.d} dimensions, expected {index.d} as the index has")
    if index.ntotal:
        raise ValueError(f"trained: got an index of {index.ntotal} vectors, expected an empty one")
    at = place / TRAINED
    if not index.is_trained:
        if at.exists():
            index = read_index(at)
        else:
            sample = source.sample(_check.integer("learn", learn, 1))
            if normalize:
                faiss.normalize_L2(sample)
            index.train(sample)
    if source.has_ids and not keeps_ids(index):
        index = faiss.IndexIDMap(index)
    about = Manifest(
        index.d,
        _check.METRIC_NAMES[index.metric_type],
        codec_digest(index),
        kind_of_ids(index),
        (),
    )
    if not at.exists():
        write_index(index, at)
    _require_same(at, codec_digest(read_index(at)), about.codebook)
    if (place / MANIFEST).exists():
        there = Manifest.read(place)
        _require_same(place / MANIFEST, there.codebook, about.codebook)
        return there
    return about


def _require_same(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise ValueError(
            f"{path}: got another trained index (codebook {found[:12]}), expected {expected[:12]}; "
            "use another folder"
        )


def _numbered(source: Source, shards: int | None, shard_rows: int | None) -> Iterator[tuple[str, Part, int]]:
    """Yield parts with the names of their shards and the number of their first vector."""
    if shard_rows is not None:
        _check.integer("shard_rows", shard_rows, 1)
    first = 0
    for i, part in enumerate(source.parts(shards, shard_rows)):
        yield shard_name(i), part, first
        first += len(part)


def _build(
    place: Path, name: str, part: Part, first: int | None, before: ShardFile | None, options: dict[str, Any]
) -> ShardFile:
    """Build a shard, unless it is there; return what is in it. ``first``: the number of its first vector."""
    output, note = place / name, place / (name + NOTE)
    vectors, ids = part.open()
    if ids is None and first is not None:
        ids = np.arange(first, first + len(vectors), dtype=np.int64)
    made_of = [file_digest(place / TRAINED), options["normalize"], options["chunk"], sampled(vectors, ids)]
    source = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    noted = before or (shard_file(str(note), read_object(note)) if note.exists() else None)
    if output.exists():
        _require_ours(output, noted, source)
        if noted is not None and not os.path.exists(f"{output}.build"):
            return noted

    def write_note(digest: str) -> None:
        span = NO_IDS if ids is None else span_of(ids)
        shard = ShardFile(name, len(vectors), *span, 0, digest, source)
        with writing(note) as file:
            file.write(json.dumps(asdict(shard)).encode())

    with on_threads(options["threads"]):
        build_index(
            place / TRAINED,
            vectors,
            output,
            normalize=options["normalize"],
            chunk=options["chunk"],
            progress=False,
            ids=ids,
            before_output=write_note,
        )
    return shard_file(str(note), read_object(note))


def _require_ours(output: Path, noted: ShardFile | None, source: str) -> None:
    if noted is None:
        raise ValueError(f"{output}: got a file that no build of this folder has made; remove it to build it")
    if noted.source != source:
        raise ValueError(
            f"{output}: got other vectors or those of another trained index, expected those to be built; "
            "remove it to build it again"
        )


def _finish(place: Path, manifest: Manifest) -> Manifest:
    """Write the manifest, and remove the notes that it takes over."""
    done = numbered(replace(manifest, shards=tuple(_sized(place, shard) for shard in manifest.shards)))
    done.write(place)
    for shard in done.shards:
        (place / (shard.file + NOTE)).unlink(missing_ok=True)
    return done


def _sized(place: Path, shard: ShardFile) -> ShardFile:
    return replace(shard, bytes=(place / shard.file).stat().st_size)
