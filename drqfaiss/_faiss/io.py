"""Stock FAISS files, and the fast index back out of them."""

from __future__ import annotations

import ctypes
import errno
import io
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import IO, Any

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss import _check
from drqfaiss._faiss.adopt import adopt_all
from drqfaiss._files import writing
from drqfaiss._indexes.nested import residual_quantizers

WRITTEN_AT_ONCE = 1 << 20  # Bytes that are handed to a file at once.


class DamagedIndexError(RuntimeError, ValueError):
    """A file is no FAISS index, or damaged: a RuntimeError as FAISS's, a ValueError as other readers'."""


def write_index(index: faiss.Index, path: str | os.PathLike[str] | IO[bytes] | faiss.IOWriter) -> None:
    """Write an index to a FAISS file. Plain FAISS reads it as a residual quantizer index and finds the same.

    The default levels and training options are no part of FAISS's format; pickle keeps them. The file
    appears whole, on the disk and with the mode of the one it replaces: a write that fails leaves what was
    there before. See "What a write promises" in docs/cli.md.

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
    if isinstance(path, faiss.IOWriter):
        faiss.write_index(index, path)
    elif isinstance(path, str | os.PathLike):
        with writing(path) as file:
            _write_file(index, file)
    elif callable(getattr(path, "write", None)):
        _write_file(index, path)
    else:
        raise TypeError(
            f"path: got {_check.shown(path)}, expected the name of a file, a binary file or an IOWriter"
        )


def read_index(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | np.ndarray | IO[bytes] | faiss.IOReader,
    io_flags: int = 0,
) -> faiss.Index:
    """Read a FAISS index from a file or from its bytes, and adopt every residual quantizer index in it.

    Args:
        source: Name of a file; an open binary file or FAISS's IOReader, read from where they are; bytes, or
            a uint8 array as ``faiss.serialize_index`` returns.
        io_flags: FAISS's, for example ``faiss.IO_FLAG_MMAP_IFC`` to map the codes instead of reading them.

    Returns:
        faiss.Index. An IndexDRQ, an index that contains one, or any other index as plain FAISS reads it.

    Raises:
        OSError: If the file cannot be opened or read.
        DamagedIndexError: If it is no FAISS index or a damaged one; a RuntimeError and a ValueError.
    """
    io_flags = _check.integer("io_flags", io_flags, 0, 2**31 - 1)
    name, read = _reader(source)
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
        return name, partial(_read_named, name)
    if isinstance(source, faiss.IOReader):
        return "the reader given", partial(faiss.read_index, source)
    if callable(getattr(source, "read", None)):
        return str(getattr(source, "name", "the file given")), partial(_read_file, source)
    try:
        data = np.ascontiguousarray(memoryview(source)).view(np.uint8).ravel()
    except TypeError:
        raise TypeError(
            f"source: got {_check.shown(source)}, expected the name of a file, a binary file, an IOReader or "
            "bytes"
        ) from None
    return "the bytes given", partial(faiss.deserialize_index, data)


def _read_named(name: str, io_flags: int) -> faiss.Index:
    """Read a file. FAISS opens those it can map itself: a pipe can be opened once only."""
    with open(name, "rb") as file:  # An OSError says why, FAISS's RuntimeError does not.
        if not (_is_utf8(name) and stat.S_ISREG(os.fstat(file.fileno()).st_mode)):
            return _read_file(file, io_flags)
    return faiss.read_index(name, io_flags)


def _is_utf8(name: str) -> bool:
    """Return whether FAISS takes a name: SWIG hands on no others."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Callback:
    """A function that FAISS calls back. FAISS replaces exceptions by a RuntimeError; the last one is kept."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.error: BaseException | None = None

    def __call__(self, argument: Any) -> Any:
        """Call the function."""
        try:
            return self.function(argument)
        except BaseException as error:
            self.error = error
            raise

    def __enter__(self) -> _Callback:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Raise the function's exception in the place of FAISS's."""
        if kind is RuntimeError and self.error is not None:
            raise self.error from None


def _write_file(index: faiss.Index, file: IO[bytes]) -> None:
    def write(data: bytes) -> None:
        while data:  # Unbuffered files, of a pipe for example, may take a part.
            count = file.write(data)
            if count is None and not isinstance(file, io.RawIOBase):  # Files of other kinds took all.
                return
            if not count:
                raise OSError(errno.EAGAIN, f"{len(data)} bytes could not be written without waiting")
            data = data[count:]

    with _Callback(write) as callback:
        faiss.write_index(index, faiss.PyCallbackIOWriter(callback, WRITTEN_AT_ONCE))


def _read_file(file: IO[bytes], io_flags: int) -> faiss.Index:
    with _Callback(file.read) as callback:
        return faiss.read_index(faiss.PyCallbackIOReader(callback), io_flags)


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
