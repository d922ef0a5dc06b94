"""What a manifest says of an index: whose ids it has, and what its file holds."""

from __future__ import annotations

from pathlib import Path

import faiss

from drqfaiss._faiss.ids import ids_in, keeps_ids
from drqfaiss._faiss.io import write_index
from drqfaiss.build import file_digest
from drqfaiss.distributed._manifest import NO_IDS, OWN, ROWS, ShardFile, span_of


def kind_of_ids(index: faiss.Index) -> str:
    """Return the manifest's word for the ids of an index."""
    return OWN if keeps_ids(index) else ROWS


def written(index: faiss.Index, path: Path) -> ShardFile:
    """Write the index of a shard; return what its file holds, without ids that count through the shards."""
    write_index(index, path)
    span = span_of(ids_in(index)) if keeps_ids(index) else NO_IDS
    return ShardFile(path.name, index.ntotal, *span, path.stat().st_size, file_digest(path))
