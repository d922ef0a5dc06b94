"""Side files: the last levels of codes, which searches read for the vectors that they rank only.

A file is a header, the levels' codebooks and the rows. Codebooks and rows begin at multiples of 4096 bytes,
so that both can be used where they are mapped. Numbers are little-endian. Bytes between the parts are 0.

The header names the index that the rows go with by a digest of what is in memory, and has digests of itself,
with the codebooks, of all rows and of a few: the first and the last are compared whenever a file is opened.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from drqfaiss._core import StoredTail
from drqfaiss._files import FileName, writing
from drqfaiss._headers import damaged_as_value_error

MAGIC, VERSION = b"DRQ-tail", 1
DIGEST = 16  # Bytes of a digest.
PAGE = 4096
MOST_LEVELS = 1 << 16
SAMPLED_ROWS = 64
READ_AT_ONCE = 1 << 24
# Magic, version, d, levels in memory and here, rows, bytes of a row; digests of the index, all and some rows.
_FIXED = struct.Struct(f"<8sIIIIQQ{DIGEST}s{DIGEST}s{DIGEST}s")
_START = _FIXED.size + DIGEST  # The digest of the header follows its fixed part, then come the bits.


@dataclass(frozen=True)
class TailHeader:
    """What a side file says.

    Attributes:
        d: dimensions.
        hot: levels that are in memory, before these.
        nbits: bits of each level here.
        n: rows.
        index: digest of the index that the rows go with.
        rows: digest of all rows.
        sample: digest of those that `sampled` names.
    """

    d: int
    hot: int
    nbits: tuple[int, ...]
    n: int
    index: bytes
    rows: bytes = bytes(DIGEST)
    sample: bytes = bytes(DIGEST)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return (sum(self.nbits) + 7) // 8

    @property
    def codebooks_at(self) -> int:
        """Where the codebooks begin."""
        return _next_page(_START + len(self.nbits))

    @property
    def codebook_bytes(self) -> int:
        """Bytes of all codebooks."""
        return sum(4 * self.d << bits for bits in self.nbits)

    @property
    def rows_at(self) -> int:
        """Where the rows begin."""
        return _next_page(self.codebooks_at + self.codebook_bytes)

    @property
    def file_bytes(self) -> int:
        """Bytes of the file."""
        return self.rows_at + self.n * self.row_bytes

    def packed(self) -> bytes:
        """Return the bytes that the header's digest is of, with the codebooks."""
        return _FIXED.pack(
            MAGIC,
            VERSION,
            self.d,
            self.hot,
            len(self.nbits),
            self.n,
            self.row_bytes,
            self.index,
            self.rows,
            self.sample,
        ) + bytes(self.nbits)


def sampled(n: int) -> NDArray[np.int64]:
    """Return the rows, of n, that are compared whenever a file is opened."""
    return np.unique(np.linspace(0, n - 1, min(n, SAMPLED_ROWS)).astype(np.int64))


def write_tail(
    path: FileName, header: TailHeader, codebooks: NDArray[np.float32], blocks: Iterable[NDArray[np.uint8]]
) -> None:
    """Write a side file; blocks are rows, (any number, row_bytes), all in all n.

    Raises:
        OSError: The file cannot be written; a pipe is none.
    """
    rows, sample, begin, wanted = _digest(), _digest(), 0, sampled(header.n)
    with writing(path) as file:
        file.seek(header.rows_at)
        for block in blocks:
            file.write(block.data)
            rows.update(block.data)
            here = wanted[(wanted >= begin) & (wanted < begin + len(block))] - begin
            sample.update(np.ascontiguousarray(block[here]).data)
            begin += len(block)
        end = file.tell()
        header = TailHeader(
            header.d, header.hot, header.nbits, header.n, header.index, rows.digest(), sample.digest()
        )
        file.seek(0)
        fixed, bits = header.packed()[: _FIXED.size], bytes(header.nbits)
        file.write(fixed + _digest(fixed + bits, codebooks.data).digest() + bits)
        file.write(bytes(header.codebooks_at - file.tell()))
        file.write(codebooks.data)
        file.write(bytes(header.rows_at - file.tell()))
        file.seek(end)


def open_tail(path: FileName) -> tuple[TailHeader, StoredTail]:
    """Open a side file after comparing its size, its header, its codebooks and some rows with their digests.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is no side file, of another version or damaged; names the file.
    """
    name = os.fsdecode(path)
    with open(path, "rb") as file, damaged_as_value_error(name, "no side file of codes, or damaged"):
        header = _read_header(file)
        found = _digest()
        # Rows are far apart: reading ahead would fetch what nobody wants.
        os.posix_fadvise(file.fileno(), header.rows_at, 0, os.POSIX_FADV_RANDOM)
        for row in sampled(header.n).tolist():
            file.seek(header.rows_at + row * header.row_bytes)
            found.update(file.read(header.row_bytes))
        _require_digest("some rows", found.digest(), header.sample)
        tail = StoredTail(
            file.fileno(), name, header.d, list(header.nbits), header.n, header.codebooks_at, header.rows_at
        )
    return header, tail


def check_tail(path: FileName) -> None:
    """Read all of a side file and compare it with its digests.

    Opening one compares the header, the codebooks and a few rows only.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no side file or damaged; names the file.
    """
    name = os.fsdecode(path)
    with open(path, "rb") as file, damaged_as_value_error(name, "no side file of codes, or damaged"):
        header = _read_header(file)
        file.seek(header.rows_at)
        found = _digest()
        while block := file.read(READ_AT_ONCE):
            found.update(block)
        _require_digest("the rows", found.digest(), header.rows)


def _read_header(file: IO[bytes]) -> TailHeader:
    """Read what comes before the rows. Sizes are compared with the file's before anything is made of them."""
    size = os.fstat(file.fileno()).st_size
    fixed, digest = file.read(_FIXED.size), file.read(DIGEST)
    if len(digest) != DIGEST or not fixed.startswith(MAGIC):
        raise ValueError(f"got a file that begins with {fixed[:8]!r}, expected {MAGIC!r}")
    _, version, d, hot, levels, n, row_bytes, *digests = _FIXED.unpack(fixed)
    if version != VERSION:
        raise ValueError(f"got version {version} of the format, expected {VERSION}")
    if not 1 <= levels <= MOST_LEVELS:
        raise ValueError(f"got {levels} levels, expected 1 to {MOST_LEVELS}")
    bits = file.read(levels)
    if len(bits) != levels or not all(1 <= width <= 16 for width in bits):
        raise ValueError("got a level without bits, expected 1 to 16 for each")
    header = TailHeader(d, hot, tuple(bits), n, *digests)
    if row_bytes != header.row_bytes:
        raise ValueError(f"got rows of {row_bytes} bytes, expected {header.row_bytes}")
    if size != header.file_bytes:
        raise ValueError(f"got {size} bytes, expected {header.file_bytes}")
    file.seek(header.codebooks_at)
    _require_digest("the header", _digest(fixed + bits, file.read(header.codebook_bytes)).digest(), digest)
    return header


def _require_digest(what: str, found: bytes, expected: bytes) -> None:
    if found != expected:
        raise ValueError(f"the digest of {what} is {found.hex()}, expected {expected.hex()}")


def _digest(*parts: bytes | memoryview) -> hashlib.blake2b:
    digest = hashlib.blake2b(digest_size=DIGEST)
    for part in parts:
        digest.update(part)
    return digest


def _next_page(size: int) -> int:
    return -(-size // PAGE) * PAGE
