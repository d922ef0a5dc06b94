"""Stock FAISS files, and the fast index back out of them."""

import os
from functools import partial

import faiss
import numpy as np

from drqfaiss import _check as check
from drqfaiss._files import replaced
from drqfaiss.adopt import adopt_all, residual_quantizers


def write_index(index: faiss.Index, path: str | os.PathLike[str]) -> None:
    """Write an index to a FAISS file. Plain FAISS reads it as a residual quantizer index and finds the same.

    The default levels and training options are no part of FAISS's format; pickle keeps them. The file
    appears whole: a write that fails leaves what was there before.

    Raises:
        TypeError: If ``index`` is no FAISS index.
        ValueError: If a residual quantizer index in it is not trained: FAISS could not read the file.
        OSError: If no file can be written in the folder.
        RuntimeError: If FAISS cannot write the index, for example for lack of space.
    """
    check.instance("index", index, faiss.Index)
    if not all(quantizer.is_trained for quantizer in residual_quantizers(index)):
        raise ValueError(
            "index: it holds an untrained residual quantizer index, which FAISS cannot read back"
        )
    with replaced(path) as written:
        faiss.write_index(index, written)


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
        read = partial(faiss.read_index, name)
    else:
        name = "the bytes given"
        read = partial(faiss.deserialize_index, np.frombuffer(source, np.uint8))
    try:
        index = read(io_flags)
    except (RuntimeError, MemoryError) as error:  # damaged sizes ask for absurd amounts of memory
        raise RuntimeError(f"{name}: not a FAISS index, or damaged: {error}") from None
    for quantizer in residual_quantizers(index):
        _require_lists_on_disk(quantizer)
    return adopt_all(index)


def _require_lists_on_disk(index: faiss.Index) -> None:
    """Require the whole file of inverted lists on disk: reading what is not there would end the process."""
    lists = faiss.downcast_InvertedLists(index.invlists) if isinstance(index, faiss.IndexIVF) else None
    if not isinstance(lists, faiss.OnDiskInvertedLists):
        return
    size = os.path.getsize(lists.filename)
    if size < lists.totsize:
        raise RuntimeError(f"{lists.filename} has {size} bytes, expected the {lists.totsize} of its lists")
