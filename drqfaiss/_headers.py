"""What files claim about their arrays, read without believing it: .npy headers and .npz archives.

NumPy's and zipfile's readers raise many kinds of errors for damaged files, and make room for whatever a
header claims. Here every claim is compared with the size of the file first, and every failure is a ValueError
that names the file and the field.
"""

from __future__ import annotations

import errno
import math
import os
import struct
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

import numpy as np

# Arrays that are packed may be so many times larger than their file, or of so many bytes.
MOST_RATIO = 100
ALWAYS_ALLOWED = 1 << 26
MOST_MEMBERS = 256
END_OF_ARCHIVE = struct.Struct("<4s4H2LH")
NUMBERS = "fiub"


class ArrayHeader(NamedTuple):
    """What the header of an array says."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def damaged_as_value_error(name: str, kind: str) -> Iterator[None]:
    """Turn whatever a reader raises into a ValueError, except what the system has to say."""
    try:
        yield
    except Exception as error:
        # EINVAL says that a place lies before 0.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            error.filename = error.filename or name
            raise
        if isinstance(error, ValueError) and str(error).startswith(name):
            raise
        raise ValueError(f"{name}: {kind}: {str(error) or type(error).__name__}") from error


def most_claimed(size: int) -> int:
    """Return how many bytes packed arrays in a file of so many bytes may have."""
    return max(ALWAYS_ALLOWED, MOST_RATIO * size)


def read_array_header(file: IO[bytes], kinds: str = NUMBERS) -> ArrayHeader:
    """Read the header of an .npy file.

    Raises:
        Exception: of any kind, where there is none; of arrays of other kinds of types ValueError.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"got version {version} of the format, expected (1, 0) or (2, 0)")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header = ArrayHeader(*read(file))
    if header.dtype.kind not in kinds:
        raise ValueError(f"got an array of {header.dtype}, expected numbers")
    if min(header.shape, default=0) < 0:
        raise ValueError(f"got an array of shape {header.shape}, expected no negative sizes")
    return header


def read_archive(path: str | os.PathLike[str], names: Collection[str], kind: str) -> dict[str, np.ndarray]:
    """Read the arrays of these names from an .npz file, as far as they are there, and nothing else.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, or an array claims more than a file of this size can hold.
    """
    with open(path, "rb") as file, damaged_as_value_error(os.fspath(path), kind):
        size = os.fstat(file.fileno()).st_size
        _require_small_directory(file, size)
        with zipfile.ZipFile(file) as archive:
            members = {
                name: archive.getinfo(f"{name}.npy") for name in names if f"{name}.npy" in archive.namelist()
            }
            claimed = sum(member.file_size for member in members.values())
            if claimed > most_claimed(size):
                raise ValueError(
                    f"got arrays of {claimed} bytes, expected at most {most_claimed(size)} in this file"
                )
            if not members:
                raise ValueError(
                    f"it holds {sorted(name.removesuffix('.npy') for name in archive.namelist())}"
                )
            return {name: _read_member(archive, name, member) for name, member in members.items()}


def _require_small_directory(file: IO[bytes], size: int) -> None:
    """Require an end as np.savez writes it, before zipfile reads the whole directory into memory."""
    file.seek(max(size - END_OF_ARCHIVE.size, 0))
    end = file.read(END_OF_ARCHIVE.size)
    if len(end) < END_OF_ARCHIVE.size or end[:4] != b"PK\5\6":
        raise ValueError("no archive")
    _, _, _, _, members, directory_bytes, _, comment = END_OF_ARCHIVE.unpack(end)
    file.seek(max(size - END_OF_ARCHIVE.size - 20, 0))
    if members > MOST_MEMBERS or directory_bytes > 1 << 20 or comment or file.read(4) == b"PK\6\7":
        raise ValueError(
            f"got an archive of {members} arrays, expected at most {MOST_MEMBERS} in less than 4 GiB"
        )
    file.seek(0)


def _read_member(archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo) -> np.ndarray:
    with damaged_as_value_error(name, "damaged"), archive.open(member) as file:
        header = read_array_header(file, NUMBERS + "U")
        content = member.file_size - file.tell()
        if header.nbytes != content:
            raise ValueError(
                f"got shape {header.shape} of {header.dtype} in {content} bytes, expected {header.nbytes}"
            )
        data = file.read(content + 1)  # One byte more: the checksum is compared at the end.
        if len(data) != content:
            raise ValueError(f"got {len(data)} bytes, expected {content}")
        return np.ndarray(header.shape, header.dtype, data, order="F" if header.fortran_order else "C")
