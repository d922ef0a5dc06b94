"""Stock FAISS files, and the fast index back out of them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import partial
from typing import IO, Any

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss import _check
from drqfaiss._faiss.adopt import adopt_all
from drqfaiss._faiss.stock_files import read_file, read_named, write_file, write_stock
from drqfaiss._faiss.tail import open_tail_of, tail_name, with_tail, write_with_tail
from drqfaiss._files import FileName
from drqfaiss._indexes.engines import IN_FAISS, flat_engine
from drqfaiss._indexes.nested import residual_quantizers
from drqfaiss._indexes.setting_file import read_setting
from drqfaiss._indexes.tail import REFINE_FACTOR, head_digest, is_head


class DamagedIndexError(RuntimeError, ValueError):
    """A file is no FAISS index, or damaged: a RuntimeError as FAISS's, a ValueError as other readers'."""

    __module__ = "drqfaiss"  # Where users and pickles find it.


def write_index(index: faiss.Index, path: str | os.PathLike[str] | IO[bytes] | faiss.IOWriter) -> None:
    """Write an index to a FAISS file. Plain FAISS reads it as a residual quantizer index and finds the same.

    The default levels and training options are no part of FAISS's format; pickle keeps them. The file
    appears whole, on the disk and with the mode of the one it replaces: a write that fails leaves what was
    there before. See "What a write promises" in docs/cli.md. An index whose last levels are in a side file is
    written as such a pair, see `split_tail`: the file named, and ".tail" beside it.

    Args:
        index: any FAISS index.
        path: name of a file; or an open binary file or FAISS's IOWriter, which are written to as they are.

    Raises:
        TypeError: If ``index`` is no FAISS index.
        ValueError: If a residual quantizer index in it is not trained: FAISS could not read the file.
        OSError: If the file cannot be written, for example for lack of space.
        RuntimeError: If FAISS cannot write such an index.
    """
    _check.instance("index", index, faiss.Index)
    if not all(quantizer.is_trained for quantizer in residual_quantizers(index)):
        raise ValueError(
            "index: got an untrained residual quantizer index, expected a trained one: FAISS could not read "
            "it back"
        )
    tailed = with_tail(index)
    if tailed is not None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                f"path: got {_check.shown(path)}, expected the name of a file: the last levels go to a side "
                "file beside it"
            )
        write_with_tail(index, tailed, path)
    elif isinstance(path, faiss.IOWriter):
        faiss.write_index(index, path)
    elif isinstance(path, str | os.PathLike):
        write_stock(index, path)
    elif callable(getattr(path, "write", None)):
        write_file(index, path)
    else:
        raise TypeError(
            f"path: got {_check.shown(path)}, expected the name of a file, a binary file or an IOWriter"
        )


def read_index(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | np.ndarray | IO[bytes] | faiss.IOReader,
    io_flags: int = 0,
    *,
    tail: FileName | bool | None = None,
    tuned: bool = False,
) -> faiss.Index:
    """Read a FAISS index from a file or from its bytes, and adopt every residual quantizer index in it.

    If it was written by `split_tail`, its side file is mapped, and searches rank 20 times as many vectors as
    results by all levels unless told otherwise (``refine_factor``).

    Args:
        source: Name of a file; an open binary file or FAISS's IOReader, read from where they are; bytes, or
            a uint8 array as ``faiss.serialize_index`` returns.
        io_flags: FAISS's, for example ``faiss.IO_FLAG_MMAP_IFC`` to map the codes instead of reading them.
        tail: the side file, if it is not beside ``source`` under its name and ".tail"; False: read the levels
            in the file alone, as plain FAISS does.
        tuned: Let searches use the setting that `Tuned.save` wrote beside the file.

    Returns:
        faiss.Index. An IndexDRQ, an index that contains one, or any other index as plain FAISS reads it.

    Raises:
        OSError: If a file cannot be opened or read; the side file, too.
        DamagedIndexError: If it is no FAISS index or a damaged one, or the side file is damaged or belongs to
            another index; a RuntimeError and a ValueError.
        RuntimeError: If the index with a side file is inside another, and the plug-in does not fit FAISS.
        ValueError: If the file of settings is damaged, or of another index.
    """
    io_flags = _check.integer("io_flags", io_flags, 0, 2**31 - 1)
    if not tuned:
        return _read(source, io_flags, tail)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"tuned: got it with {_check.shown(source)}, expected the name of a file")
    index = _read(source, io_flags, tail)
    read_setting(source, index).apply(index)
    return index


def _read(source: Any, io_flags: int, tail: FileName | bool | None) -> faiss.Index:
    """Read an index, and map its side file if it has one."""
    name, read = _reader(source)
    index = _adopted(name, read, io_flags)
    head = head_of(index)
    if tail is False or (head is None and tail is None):
        return index
    if head is None:
        raise ValueError(f"tail: got {_check.shown(tail)}, expected None: {name} has all of its levels")
    if isinstance(tail, str | os.PathLike):
        return attach(index, name, tail)
    if not isinstance(source, str | os.PathLike):
        raise ValueError(
            f"tail: got {_check.shown(tail)}, expected the name of the side file with the other levels of "
            f"{name}, or False"
        )
    try:
        return attach(index, name)
    except DamagedIndexError:
        # Somebody may have written the pair anew after its first half was read.
        again = _adopted(name, read, io_flags)
        other = head_of(again)
        if other is None or head_digest(other) == head_digest(head):
            raise
        return attach(again, name)


def attach(index: faiss.Index, name: str, tail: FileName | None = None) -> faiss.Index:
    """Attach its side file to an index that was read from a file of this name; return the index.

    Raises:
        OSError, RuntimeError: As `read_index`.
    """
    head = head_of(index)
    if head is not index and flat_engine() is not IN_FAISS:
        raise RuntimeError(
            f"{name}: got an index around one with a side file, expected none: without the plug-in, what is "
            "inside others is searched by the levels in memory alone; tail=False reads these"
        )
    try:
        open_tail_of(head, tail_name(name) if tail is None else tail)
    except ValueError as error:
        raise DamagedIndexError(str(error)) from None
    engine = flat_engine()
    engine.set_depth(head, engine.depth(head)._replace(refine_factor=REFINE_FACTOR))
    return index


def head_of(index: faiss.Index) -> faiss.IndexResidualQuantizer | None:
    """Return what in an index has its last levels in a side file."""
    heads = [quantizer for quantizer in residual_quantizers(index) if is_head(quantizer)]
    return heads[0] if heads else None


def _adopted(name: str, read: Callable[[int], faiss.Index], io_flags: int) -> faiss.Index:
    """Read an index, without its side file."""
    try:
        index = read(io_flags)
    except (RuntimeError, MemoryError) as error:  # Damaged sizes ask for absurd amounts of memory.
        raise DamagedIndexError(f"{name}: not a FAISS index, or damaged: {error}") from None
    for quantizer in residual_quantizers(index):
        _require_lists_on_disk(name, quantizer)
    return adopt_all(index)


def _reader(source: Any) -> tuple[str, Callable[[int], faiss.Index]]:
    """Return what to call a source in errors, and what reads it."""
    if isinstance(source, str | os.PathLike):
        name = os.fsdecode(source)
        return name, partial(read_named, name)
    if isinstance(source, faiss.IOReader):
        return "the reader given", partial(faiss.read_index, source)
    if callable(getattr(source, "read", None)):
        return str(getattr(source, "name", "the file given")), partial(read_file, source)
    try:
        data = np.ascontiguousarray(memoryview(source)).view(np.uint8).ravel()
    except TypeError:
        raise TypeError(
            f"source: got {_check.shown(source)}, expected the name of a file, a binary file, an IOReader or "
            "bytes"
        ) from None
    return "the bytes given", partial(faiss.deserialize_index, data)


# The fields of faiss::OnDiskOneList.
_ONE_LIST = np.dtype([("size", "u8"), ("capacity", "u8"), ("offset", "u8")])


def _require_lists_on_disk(name: str, index: faiss.Index) -> None:
    """Require the whole file of inverted lists on disk: reading what is not there would end the process."""
    lists = faiss.downcast_InvertedLists(index.invlists) if isinstance(index, faiss.IndexIVF) else None
    if not isinstance(lists, faiss.OnDiskInvertedLists):
        return
    file = lists.filename or name  # Lists that FAISS maps from the index file have no name.
    size = os.path.getsize(file)
    if size < lists.totsize:
        raise DamagedIndexError(
            f"{file}: got {size} bytes, expected the {lists.totsize} of its inverted lists"
        )
    parts = _one_lists(lists)
    # A vector takes its code and an id of 8 bytes.
    room = (size - np.minimum(parts["offset"], size)) // (lists.code_size + 8)
    if (bad := np.flatnonzero(parts["size"] > room)).size:
        raise DamagedIndexError(
            f"{file}: got {parts['size'][bad[0]]} vectors in inverted list {bad[0]}, expected at most the "
            f"{room[bad[0]]} that the file has room for"
        )


def _one_lists(lists: faiss.OnDiskInvertedLists) -> NDArray[np.void]:
    """Return size, capacity and offset of every list. SWIG knows no arrays of this type."""
    count = lists.lists.size()
    if not count:
        return np.empty(0, _ONE_LIST)
    memory = (ctypes.c_char * (count * _ONE_LIST.itemsize)).from_address(int(lists.lists.data().this))
    return np.frombuffer(memory, _ONE_LIST).copy()
