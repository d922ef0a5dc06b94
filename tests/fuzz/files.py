"""Targets that read damaged files."""

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

import drqfaiss
from drqfaiss._tail_file import _FIXED, _START, TailHeader, _digest, sampled
from tests.fuzz.damage import damaged, damaged_archive
from tests.indexes import make_index, make_vectors
from tests.ivf_indexes import make_ivf
from tests.test_hostile_files import FORMATS


class Files:
    """Files of one format: what reads them raises ValueError or OSError, or returns."""

    def __init__(self, folder: Path, format_: str) -> None:
        self.path = folder / f"x.{format_}"
        write, self.read = FORMATS[format_]
        write(self.path)
        self.content = self.path.read_bytes()

    def damage(self, rng: np.random.Generator) -> bytes:
        if self.path.suffix == ".npz" and rng.random() < 0.7:
            return damaged_archive(rng, self.content)
        return damaged(rng, self.content)

    def run(self, rng: np.random.Generator, stock: bool = False) -> str:
        self.path.write_bytes(self.damage(rng))
        try:
            self.read(self.path)
        except (ValueError, OSError):
            return "refused"
        return "read"


class HDF5Files(Files):
    """HDF5's own library may fail on damaged files: what h5py alone cannot read either is no finding."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "hdf5")

    def run(self, rng, stock=False):
        if not stock:
            return super().run(rng)
        import h5py

        self.path.write_bytes(self.damage(rng))
        with h5py.File(self.path) as file:
            for part in file.values():
                part[...]
            dict(file.attrs)
        return "read"


def stored_indexes() -> list[bytes]:
    """Return index files of several kinds."""
    flat = [make_index(60, metric, nbits=nbits) for metric in ("l2", "ip") for nbits in (4, 8)]
    lists = [make_ivf(60, metric, by_residual) for metric in ("l2", "ip") for by_residual in (True, False)]
    mapped = faiss.IndexIDMap2(make_index(0))
    mapped.add_with_ids(make_vectors(60), np.arange(60) * 3)
    rotation = faiss.RandomRotationMatrix(16, 16)
    rotation.init(1)
    rotated = faiss.IndexPreTransform(rotation, make_index(0))
    rotated.add(make_vectors(60))
    return [faiss.serialize_index(index).tobytes() for index in (*flat, *lists, mapped, rotated)]


def signed(data: bytes) -> bytes:
    """Return a side file with right digests, as far as its numbers let them be computed."""
    if len(data) < _START:
        return data
    magic, version, d, hot, levels, n, row_bytes, index, *_ = _FIXED.unpack_from(data)
    header = TailHeader(d, hot, tuple(min(own, 16) for own in data[_START : _START + levels]), n, index)
    rows = data[header.rows_at :]
    picked = sampled(n).tolist() if n < 1_000 else []
    sample = b"".join(rows[row * header.row_bytes :][: header.row_bytes] for row in picked)
    fixed = _FIXED.pack(
        magic, version, d, hot, levels, n, row_bytes, index, _digest(rows).digest(), _digest(sample).digest()
    )
    codebooks = data[header.codebooks_at :][: header.codebook_bytes]
    digest = _digest(fixed + data[_START : _START + levels], codebooks).digest()
    return fixed + digest + data[_START:]


def overwritten(rng: np.random.Generator, tail: bytes) -> bytes:
    """Return a side file of the same size with other bytes somewhere in its codebooks or rows."""
    count = int(rng.integers(1, 65))
    at = int(rng.integers(4096, len(tail) - count))
    return tail[:at] + rng.bytes(count) + tail[at + count :]


REFUSALS = (ValueError, OSError, RuntimeError, AssertionError)  # FAISS's Python asserts shapes


def read_and_used(
    path: Path, flags: int, stock: bool, use: Callable[[faiss.Index, bool, np.ndarray], None]
) -> str:
    """Read an index, by plain FAISS if `stock`, and use it with vectors; return how far that went."""
    try:
        index = faiss.read_index(str(path), flags) if stock else drqfaiss.read_index(path, flags)
    except (ValueError, OSError):
        return "refused"
    except RuntimeError:
        if stock:
            return "refused"
        raise
    if not 0 < index.d < 10_000 or index.ntotal > 1 << 20:
        return "read"
    try:
        use(index, stock, np.random.default_rng(1).normal(size=(3, index.d)).astype(np.float32))
    except REFUSALS:
        return "read, refused to work"
    return "read and searched"


class SplitFiles:
    """Indexes whose last levels are in a side file: both are damaged, digests often put right."""

    def __init__(self, folder: Path) -> None:
        self.path, self.tail = folder / "x.faiss", folder / "x.faiss.tail"
        self.contents = []
        for metric in ("l2", "ip"):
            for nbits, blocks in ((4, 0), (8, 0), (5, 3)):
                index = make_index(70, metric, nbits=nbits, blocks=blocks, levels=6)
                drqfaiss.split_tail(index, 3, self.path)
                self.contents.append((self.path.read_bytes(), self.tail.read_bytes()))

    def run(self, rng: np.random.Generator, stock: bool = False) -> str:
        head, tail = self.contents[rng.integers(len(self.contents))]
        which = rng.random()
        if which < 0.3:
            head = damaged(rng, head)
        if which > 0.6:
            tail = damaged(rng, tail)
        elif which > 0.2:
            tail = overwritten(rng, tail)
        self.path.write_bytes(head)
        self.tail.write_bytes(signed(tail) if rng.random() < 0.6 else tail)
        return read_and_used(self.path, 0, stock, self.use)

    def use(self, index: faiss.Index, stock: bool, x: np.ndarray) -> None:
        if stock:
            IndexFiles.use(index, stock, x)
            return
        depth = drqfaiss.SearchParametersDRQ(levels=2, refine_factor=4)
        for k in (1, 30):
            index.search(x, k, params=depth)
            index.search(x[:1], k, params=depth)
        index.pack(2)
        index.search(x, 3, params=depth)
        if index.ntotal:
            index.reconstruct(0)
        index.add(x)
        index.search(x, 3, params=depth)
        drqfaiss.join_tail(index).search(x, 3)
        drqfaiss.check_tail(self.tail)


class IndexFiles:
    """FAISS index files, which are searched if they can be read.

    FAISS itself does not survive every damaged file: what ends a process that uses plain FAISS in the same
    way is no finding.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "x.faiss"
        self.contents = stored_indexes()

    def run(self, rng: np.random.Generator, stock: bool = False) -> str:
        self.path.write_bytes(damaged(rng, self.contents[rng.integers(len(self.contents))]))
        flags = int(rng.choice([0, 0, faiss.IO_FLAG_MMAP, faiss.IO_FLAG_MMAP_IFC]))
        return read_and_used(self.path, flags, stock, self.use)

    @staticmethod
    def use(index: faiss.Index, stock: bool, x: np.ndarray) -> None:
        index.search(x, 3)
        index.search(x[:1], 3)
        index.range_search(x, 1.0)
        if index.ntotal:
            index.reconstruct(0)
        if not stock:
            parameters = (
                drqfaiss.SearchParametersIVFDRQ
                if isinstance(index, faiss.IndexIVF)
                else drqfaiss.SearchParametersDRQ
            )
            index.search(x, 3, params=parameters(levels=2))
            if isinstance(index, drqfaiss.IndexDRQ):
                index.pack()
                index.search(x, 3)
        index.add(x)
        index.search(x, 3)
