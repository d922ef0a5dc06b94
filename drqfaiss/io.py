"""Stock FAISS files, and the fast index back out of them."""

import os

import faiss
import numpy as np

from drqfaiss import _check as check
from drqfaiss.adopt import adopt_all


def write_index(index: faiss.Index, path: str | os.PathLike[str]) -> None:
    """Write an index to a FAISS file. Plain FAISS reads it as a residual quantizer index and finds the same.

    The default levels and training options are no part of FAISS's format; pickle keeps them.

    Raises:
        TypeError: If ``index`` is no FAISS index.
        OSError: If the file cannot be opened for writing.
    """
    check.instance("index", index, faiss.Index)
    name = os.fspath(path)
    with open(name, "ab"):  # an OSError that says why, instead of FAISS's RuntimeError
        pass
    faiss.write_index(index, name)


def read_index(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | np.ndarray, io_flags: int = 0
) -> faiss.Index:
    """Read a FAISS index from a file or from its bytes, and adopt every residual quantizer index in it.

    Args:
        source: Bytes, or a uint8 array as ``faiss.serialize_index`` returns.
        io_flags: FAISS's, for example ``faiss.IO_FLAG_MMAP_IFC`` to map the codes instead of reading them.

    Returns:
        faiss.Index. An IndexDRQ, an index that contains one, or any other index as plain FAISS reads it.

    Raises:
        OSError: If the file cannot be opened.
        RuntimeError: If it is no FAISS index or a damaged one.
    """
    io_flags = check.integer("io_flags", io_flags, 0)
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        with open(name, "rb"):  # an OSError that says why, instead of FAISS's RuntimeError
            pass
        read = faiss.read_index
        content = name
    else:
        name = "the bytes given"
        read = faiss.deserialize_index
        content = np.frombuffer(source, np.uint8)
    try:
        index = read(content, io_flags)
    except (RuntimeError, MemoryError) as error:  # damaged sizes ask for absurd amounts of memory
        raise RuntimeError(f"{name}: not a FAISS index, or damaged: {error}") from None
    return adopt_all(index)
