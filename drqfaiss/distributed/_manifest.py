"""The manifest of a folder of shards: which files there are, what is in them, and what they must be."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss import _check
from drqfaiss._files import writing

MANIFEST, TRAINED = "manifest.json", "trained.faiss"
FORMAT, VERSION = "drqfaiss.shards", 1
ROWS, OWN = "rows", "own"  # Ids are places in the whole, or stand in the shards.
NO_IDS = (-1, -1)  # First and last of an empty shard.
MOST_BYTES = 1 << 28
TYPES: dict[str, type] = {"str": str, "int": int}  # By their annotations.
NAME = re.compile(r"[\w][\w.-]*")


@dataclass(frozen=True)
class ShardFile:
    """What a shard's file holds.

    Attributes:
        file: its name in the folder.
        vectors: number of vectors.
        first_id: smallest id, −1 of an empty shard.
        last_id: greatest id, −1 of an empty shard.
        bytes: size of the file.
        sha256: digest of its content.
        source: digest of what it was made from; empty if it has been changed since.
    """

    file: str
    vectors: int
    first_id: int
    last_id: int
    bytes: int
    sha256: str
    source: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds, in the order of the vectors.

    Attributes:
        d: dimensions of a vector.
        metric: "l2" or "ip".
        codebook: digest of what encodes: codebooks, coarse centroids, transforms.
        ids: "rows" if ids count through the shards, "own" if the shards hold them.
        shards: the files.
        drqfaiss: version that wrote it.
        faiss: version of FAISS then.
    """

    d: int
    metric: str
    codebook: str
    ids: str
    shards: tuple[ShardFile, ...]
    drqfaiss: str = version("drqfaiss")
    faiss: str = faiss.__version__

    @property
    def ntotal(self) -> int:
        """Number of vectors in all shards."""
        return sum(shard.vectors for shard in self.shards)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write the manifest of a folder; it appears whole.

        Raises:
            OSError: it cannot be written.
        """
        text = json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1)
        with writing(Path(folder) / MANIFEST) as file:
            file.write(text.encode() + b"\n")

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            OSError: there is none.
            ValueError: it is damaged, or of a later version; names the file and the field.
        """
        path = Path(folder) / MANIFEST
        found = read_object(path)
        if found.get("format") != FORMAT:
            raise ValueError(f"{path}: got format {_check.shown(found.get('format'))}, expected {FORMAT!r}")
        if found.get("version") != VERSION:
            raise ValueError(f"{path}: got version {_check.shown(found.get('version'))}, expected {VERSION}")
        shards = found.get("shards")
        if not isinstance(shards, list) or not shards:
            raise ValueError(f"{path}: got shards {_check.shown(shards)}, expected a list of files")
        read = tuple(shard_file(f"{path}: shard {i}", shard) for i, shard in enumerate(shards))
        manifest = cls(**_typed(str(path), cls, {**found, "shards": read}))
        manifest.check(path)
        return manifest

    def check(self, path: Path) -> None:
        """Require what no type says; raise ValueError that names the field."""
        _check.one_of(f"{path}: ids", self.ids, (ROWS, OWN))
        _check.one_of(f"{path}: metric", self.metric, tuple(_check.METRIC_NAMES.values()))
        names = [shard.file for shard in self.shards]
        if len({*names}) < len(names):
            raise ValueError(f"{path}: got shards {_check.shown(names)}, expected each once")


def read_object(path: Path) -> dict[str, Any]:
    """Read a small file of JSON that holds an object; raise OSError, or ValueError naming the file."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path}: got {path.stat().st_size} bytes, expected at most {MOST_BYTES}")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: damaged: got {_check.shown(found)}, expected an object")
    return found


def shard_file(name: str, found: Any) -> ShardFile:
    """Return what a manifest or a note says about a shard; raise ValueError, by the name given."""
    if not isinstance(found, dict):
        raise ValueError(f"{name}: got {_check.shown(found)}, expected an object")
    shard = ShardFile(**_typed(name, ShardFile, found))
    if not NAME.fullmatch(shard.file):
        raise ValueError(f"{name}: got file {shard.file!r}, expected a name without a folder")
    return shard


def _typed(name: str, kind: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a class, each of its type; raise ValueError for others."""
    expected = {field.name: TYPES.get(str(field.type), tuple) for field in fields(kind)}
    for field, type_ in expected.items():
        if type(found.get(field)) is not type_:
            raise ValueError(
                f"{name}: got {field} {_check.shown(found.get(field))}, expected {type_.__name__}"
            )
    return {field: found[field] for field in expected}


def numbered(manifest: Manifest) -> Manifest:
    """Return a manifest whose shards say which ids they have, where ids count through the shards."""
    if manifest.ids == OWN:
        return manifest
    starts = np.cumsum([0, *(shard.vectors for shard in manifest.shards)]).tolist()
    spans = [(first, last - 1) if last > first else NO_IDS for first, last in pairwise(starts)]
    shards = zip(manifest.shards, spans, strict=True)
    return replace(manifest, shards=tuple(replace(shard, first_id=a, last_id=b) for shard, (a, b) in shards))


def shard_name(i: int) -> str:
    """Return the name of a shard's file."""
    return f"shard-{i:05}.faiss"


def span_of(ids: NDArray[np.int64]) -> tuple[int, int]:
    """Return the smallest and the greatest id."""
    return (int(ids.min()), int(ids.max())) if len(ids) else NO_IDS
