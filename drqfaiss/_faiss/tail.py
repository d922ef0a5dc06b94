"""``split_tail`` and ``join_tail``: the last levels of an index's codes to a side file, and back."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss import _check
from drqfaiss._faiss.adopt import adopt
from drqfaiss._faiss.stock_files import write_stock
from drqfaiss._files import FileName, move_or_copy
from drqfaiss._indexes.array_work import append_codes, widths
from drqfaiss._indexes.base import bit_widths, stored_search_type, use_storable_tables
from drqfaiss._indexes.engines import flat_engine
from drqfaiss._indexes.flat import IndexDRQ
from drqfaiss._indexes.nested import residual_quantizers
from drqfaiss._indexes.tail import HAS_TAIL, ROWS_AT_ONCE, attach_tail, code_rows, head_digest, is_head
from drqfaiss._tail_file import TailHeader, open_tail, write_tail

SUFFIX, NEW = ".tail", ".new"


def split_tail(index: faiss.Index, levels: int, path: FileName, *, tail_path: FileName | None = None) -> None:
    """Write an index as two files: one of its first levels, and a side file of the others.

    ``path`` is an ordinary FAISS file of an index of ``levels`` levels, which plain FAISS reads and searches.
    `read_index` maps the side file as well and returns an index that scans the levels in memory and ranks a
    shortlist by all of them: with the same parameters it finds what ``index`` does, bit for bit.

    A writer that is killed leaves the old pair or the new one.

    Args:
        index: a trained IndexDRQ or residual quantizer index, or an index that contains one.
        levels: that stay in memory, at least 1 and fewer than the index has.
        path: file for the index.
        tail_path: side file; ``path`` and ".tail" unless given.

    Raises:
        TypeError, ValueError: naming the argument and what was expected.
        OSError: a file cannot be written.
    """
    whole = require_splittable(index, levels)
    levels, bits = int(levels), widths(whole)
    first_bit = sum(bits[:levels])
    floats = sum(index.d << width for width in bits[:levels])
    codebooks = faiss.vector_to_array(whole.rq.codebooks)
    head = _stock_index(whole, bits[:levels], codebooks[:floats])
    head.rq.train_type |= HAS_TAIL
    for rows in _blocks(whole):
        append_codes(head, bits_of(rows, 0, first_bit), None)
    outer = head if isinstance(index, faiss.IndexResidualQuantizer) else _with_part(index, head)
    tails = (bits_of(rows, first_bit, sum(bits)) for rows in _blocks(whole))
    header = TailHeader(whole.d, levels, tuple(bits[levels:]), whole.ntotal, head_digest(head))
    _write_pair(outer, header, codebooks[floats:], tails, path, tail_path)


def require_splittable(index: faiss.Index, levels: int) -> faiss.IndexResidualQuantizer:
    """Return what `split_tail` splits in an index, or raise what it does."""
    whole = _only_flat(index)
    if not whole.is_trained:
        raise ValueError("index: got an untrained index, expected a trained one")
    if with_tail(index) is not None:
        raise ValueError("index: its last levels are in a side file already, expected all in memory")
    _check.integer("levels", levels, 1, whole.rq.M - 1)
    return whole


def join_tail(index: faiss.Index) -> IndexDRQ:
    """Return an index with all levels in memory, of one whose last levels are in a side file.

    Raises:
        TypeError, ValueError: ``index`` is no such index.
    """
    _check.instance("index", index, faiss.IndexResidualQuantizer)
    tail = flat_engine().tail(index)
    if tail is None:
        raise ValueError("index: got an index with all levels in memory, expected one with a side file")
    bits = widths(index)
    codebooks = np.concatenate([faiss.vector_to_array(index.rq.codebooks), tail.codebooks()])
    whole = _stock_index(index, bits + tail.nbits, codebooks)
    for begin in range(0, index.ntotal, ROWS_AT_ONCE):
        end = min(begin + ROWS_AT_ONCE, index.ntotal)
        parts = (code_rows(index, begin, end), sum(bits)), (tail.rows(begin, end), sum(tail.nbits))
        append_codes(whole, _joined(*parts), None)
    return adopt(whole)


def with_tail(index: faiss.Index) -> faiss.IndexResidualQuantizer | None:
    """Return what in an index ranks by levels in a side file; None if nothing does."""
    for head in filter(is_head, residual_quantizers(index)):
        if flat_engine().is_adopted(head) and flat_engine().tail(head) is not None:
            return head
    return None


def write_with_tail(index: faiss.Index, head: faiss.IndexResidualQuantizer, path: FileName) -> None:
    """Write an index and the side file of what is in it, with the vectors added since."""
    tail = flat_engine().tail(head)
    assert tail is not None
    ranges = range(0, head.ntotal, ROWS_AT_ONCE)
    rows = (tail.rows(begin, min(begin + ROWS_AT_ONCE, head.ntotal)) for begin in ranges)
    header = TailHeader(head.d, head.rq.M, tuple(tail.nbits), head.ntotal, head_digest(head))
    _write_pair(index, header, tail.codebooks(), rows, path, None)


def open_tail_of(head: faiss.IndexResidualQuantizer, name: FileName) -> None:
    """Attach the side file of this name to an index that was read.

    Raises:
        OSError: There is none, or it cannot be opened.
        ValueError: It is damaged, or belongs to another index; names the file.
    """
    with suppress(OSError, ValueError):  # A writer was killed, or has not finished, after it wrote the index.
        attach_tail(head, os.fsdecode(name) + NEW)
        return
    attach_tail(head, name)


def tail_name(path: FileName) -> str:
    """Return the usual name of a side file."""
    return os.fsdecode(path) + SUFFIX


def bits_of(rows: NDArray[np.uint8], begin: int, end: int) -> NDArray[np.uint8]:
    """Return bits [begin, end) of every row as rows of their own, from the least significant bit on."""
    if begin % 8 or end % 8:
        bits = np.unpackbits(rows[:, begin // 8 : (end + 7) // 8], axis=1, bitorder="little")
        return np.packbits(bits[:, begin % 8 : end - begin // 8 * 8], axis=1, bitorder="little")
    return np.ascontiguousarray(rows[:, begin // 8 : end // 8])


def _joined(first: tuple[NDArray[np.uint8], int], second: tuple[NDArray[np.uint8], int]) -> NDArray[np.uint8]:
    """Return rows of the first bits of each pair's rows, one after the other."""
    if first[1] % 8 == 0:
        return np.concatenate([first[0], second[0]], axis=1)
    bits = [np.unpackbits(rows, axis=1, bitorder="little")[:, :count] for rows, count in (first, second)]
    return np.packbits(np.concatenate(bits, axis=1), axis=1, bitorder="little")


def _only_flat(index: faiss.Index) -> faiss.IndexResidualQuantizer:
    """Return the residual quantizer index that an index is or contains."""
    _check.instance("index", index, faiss.Index)
    found = list(residual_quantizers(index))
    if len(found) != 1 or not isinstance(found[0], faiss.IndexResidualQuantizer):
        raise TypeError(
            f"index: got {type(index).__name__} with {len(found)} residual quantizer indexes, expected an "
            "IndexDRQ, or one that contains a single IndexDRQ"
        )
    return found[0]


def _with_part(index: faiss.Index, part: faiss.IndexResidualQuantizer) -> faiss.Index:
    """Return a copy of an index with another residual quantizer index in it."""
    copy = faiss.clone_index(index)
    inner = _only_flat(copy)
    inner.rq, inner.code_size = part.rq, part.code_size
    codes = faiss.rev_swig_ptr(part.codes.data(), part.codes.size()) if part.ntotal else np.empty(0, np.uint8)
    inner.codes.resize(codes.size)
    if codes.size:
        faiss.rev_swig_ptr(inner.codes.data(), codes.size)[:] = codes
    return copy


def _write_pair(
    index: faiss.Index,
    header: TailHeader,
    codebooks: NDArray[np.float32],
    rows: Iterable[NDArray[np.uint8]],
    path: FileName,
    tail_path: FileName | None,
) -> None:
    """Write the side file under another name, then the index, then give the side file its name.

    Whenever this ends, the index that is there has a side file under one of the two names.
    """
    name = tail_name(path) if tail_path is None else os.fsdecode(tail_path)
    _finish(path, name)
    write_tail(name + NEW, header, codebooks, rows)
    write_stock(index, path)
    move_or_copy(name + NEW, name)


def _finish(path: FileName, name: str) -> None:
    """Give a side file its name whose writer was killed before it could."""
    if not (os.path.isfile(path) and os.path.isfile(name + NEW)):
        return
    with suppress(OSError, ValueError, RuntimeError, StopIteration):
        head = next(filter(is_head, residual_quantizers(faiss.read_index(os.fsdecode(path)))))
        header, _ = open_tail(name + NEW)
        if header.index == head_digest(head):
            move_or_copy(name + NEW, name)


def _stock_index(
    like: faiss.IndexResidualQuantizer, nbits: list[int], codebooks: NDArray[np.float32]
) -> faiss.IndexResidualQuantizer:
    """Return an empty index with these levels that encodes as another."""
    made = faiss.IndexResidualQuantizer(
        like.d, bit_widths(nbits), like.metric_type, stored_search_type(nbits)
    )
    made.rq.max_beam_size = like.rq.max_beam_size
    use_storable_tables(made.rq)
    faiss.copy_array_to_vector(np.ascontiguousarray(codebooks), made.rq.codebooks)
    if not made.rq.train_type & faiss.ResidualQuantizer.Skip_codebook_tables:
        made.rq.compute_codebook_tables()
    made.rq.is_trained = made.is_trained = True
    return made


def _blocks(index: faiss.IndexResidualQuantizer) -> Iterable[NDArray[np.uint8]]:
    """Yield the codes of an index, many rows at a time."""
    for begin in range(0, index.ntotal, ROWS_AT_ONCE):
        yield code_rows(index, begin, min(begin + ROWS_AT_ONCE, index.ntotal))
