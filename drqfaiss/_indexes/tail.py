"""Flat indexes whose last levels are in a side file: what ties the two together."""

from __future__ import annotations

import hashlib
import os
import struct
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss._core import StoredTail
from drqfaiss._files import FileName
from drqfaiss._indexes.array_work import widths
from drqfaiss._indexes.engines import flat_engine
from drqfaiss._tail_file import DIGEST, open_tail

# A bit of rq.train_type that FAISS keeps in files and has no use for: the other levels are in a side file.
HAS_TAIL = 1 << 20
REFINE_FACTOR = 20  # What an index with a side file ranks by default, times as many vectors as results.
ROWS_AT_ONCE = 1 << 16


def is_head(index: faiss.Index) -> bool:
    """Return whether an index says that its other levels are in a side file."""
    return isinstance(index, faiss.IndexResidualQuantizer) and bool(index.rq.train_type & HAS_TAIL)


def code_rows(index: faiss.IndexResidualQuantizer, begin: int, end: int) -> NDArray[np.uint8]:
    """Return rows of FAISS's own codes, without copying them: valid until the index changes."""
    begin, end = begin * index.code_size, end * index.code_size
    if begin == end:
        return np.empty((0, index.code_size), np.uint8)
    codes = faiss.rev_swig_ptr(index.codes.data(), end)
    return codes[begin:].reshape(-1, index.code_size)


def head_digest(index: faiss.IndexResidualQuantizer, n: int | None = None) -> bytes:
    """Return the digest of what an index has in memory: of the first n vectors, else of all."""
    n = index.ntotal if n is None else n
    bits = widths(index)
    digest = hashlib.blake2b(
        struct.pack("<QqQQ", index.d, index.metric_type, n, len(bits)) + bytes(bits), digest_size=DIGEST
    )
    codebooks = index.rq.codebooks
    digest.update(faiss.rev_swig_ptr(codebooks.data(), codebooks.size()).data)
    for begin in range(0, n, ROWS_AT_ONCE):
        digest.update(code_rows(index, begin, min(begin + ROWS_AT_ONCE, n)).data)
    return digest.digest()


def attach_tail(index: faiss.IndexResidualQuantizer, path: FileName, n: int | None = None) -> None:
    """Let an adopted index rank by the levels in a side file of its first n vectors, else of all.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is damaged, or belongs to another index; names the file.
    """
    header, tail = open_tail(path)
    n = index.ntotal if n is None else n
    for name, found, expected in (
        ("d", header.d, index.d),
        ("levels in memory", header.hot, index.rq.M),
        ("vectors", header.n, n),
        ("digest of the index", header.index.hex(), head_digest(index, n).hex()),
    ):
        if found != expected:
            raise ValueError(
                f"{os.fsdecode(path)}: belongs to another index: got {name} {found}, expected {expected}"
            )
    flat_engine().set_tail(index, tail)


def tail_state(index: faiss.IndexResidualQuantizer) -> dict[str, Any] | None:
    """Return what `restore_tail` needs: the file's name, and the rows of vectors that were added since."""
    tail = flat_engine().tail(index)
    if tail is None:
        return None
    return {
        "path": os.path.abspath(tail.name),
        "stored": tail.stored,
        "added": tail.rows(tail.stored, index.ntotal),
    }


def restore_tail(index: faiss.IndexResidualQuantizer, state: dict[str, Any]) -> None:
    """Open the side file of an index that was pickled; raise as `attach_tail`."""
    attach_tail(index, state["path"], state["stored"])
    tail = flat_engine().tail(index)
    assert tail is not None
    tail.append(state["added"])
    flat_engine().set_tail(index, tail)


def whole_error(what: str, tail: StoredTail) -> RuntimeError:
    """Return the error of a change that an index with a side file refuses."""
    return RuntimeError(
        f"{what}: the last {len(tail.nbits)} levels of the codes are in {tail.name}, expected all in memory, "
        "see drqfaiss.join_tail"
    )
