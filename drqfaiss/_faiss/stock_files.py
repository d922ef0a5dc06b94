"""FAISS's reader and writer on Python's files, whose exceptions they replace by their own."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable
from typing import IO, Any

import faiss

from drqfaiss._files import FileName, writing

WRITTEN_AT_ONCE = 1 << 20  # Bytes that are handed to a file at once.


def read_named(name: str, io_flags: int) -> faiss.Index:
    """Read a file. FAISS opens those it can map itself: a pipe can be opened once only."""
    with open(name, "rb") as file:  # An OSError says why, FAISS's RuntimeError does not.
        if not (_is_utf8(name) and stat.S_ISREG(os.fstat(file.fileno()).st_mode)):
            return read_file(file, io_flags)
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


def write_stock(index: faiss.Index, path: FileName) -> None:
    """Write an index to a file that appears whole."""
    with writing(path) as file:
        write_file(index, file)


def write_file(index: faiss.Index, file: IO[bytes]) -> None:
    """Write an index to an open file, also one that takes a part at a time."""

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


def read_file(file: IO[bytes], io_flags: int) -> faiss.Index:
    """Read an index from an open file, from where it is."""
    with _Callback(file.read) as callback:
        return faiss.read_index(faiss.PyCallbackIOReader(callback), io_flags)
