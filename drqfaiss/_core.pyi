"""Compiled core of drqfaiss: quantizer arithmetic and the FAISS plug-in."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]
_Codebooks = _Floats | list[_Floats]  # (M, K, d), or (K, d) of every level

class plugin:
    """IndexDRQ and IndexIVFDRQ inside FAISS, by addresses. A module: type checkers know its functions."""

    @staticmethod
    def open(index: int) -> dict[str, Any]:
        """Find what flat indexes need in FAISS, by a residual quantizer index; return `facts`."""

    @staticmethod
    def open_threads(object: int) -> None:
        """Follow FAISS's number of threads and prepare for forks; given any object of FAISS's."""

    @staticmethod
    def open_ivf(with_scanner: bool) -> None:
        """Find what IVF indexes need in FAISS; without our scanner, FAISS's own is left in its place."""

    @staticmethod
    def mend_id_maps(index: int, ids: int, parameters: int, ivf_parameters: int) -> None:
        """Let every IndexIDMap hand on search parameters, given offsets of its fields and sizes of theirs."""

    @staticmethod
    def home(object: int) -> tuple[str, str]:
        """Return the file that an object's class is from, and the symbol of its virtual table."""

    @staticmethod
    def virtual_functions(symbol: str) -> list[str]:
        """Return the symbol of each function in a virtual table; empty for one that is not exported."""

    @staticmethod
    def shares_allocator() -> bool:
        """Return whether libfaiss frees what is allocated here, and the other way round."""

    @staticmethod
    def rooms() -> dict[str, int]:
        """Return the bytes that the plug-in sets aside for objects of FAISS, by class."""

    @staticmethod
    def word_at(object: int, name: str) -> int:
        """Return the eight bytes of an object that begin at a field, by its name in the layout."""

    @staticmethod
    def facts() -> dict[str, Any]:
        """Return what was found in FAISS."""

    @staticmethod
    def set_layout(offsets: dict[str, int]) -> None:
        """Set where FAISS's objects have the fields that the plug-in reads, by name; once, or the same."""

    @staticmethod
    def describe(index: int) -> dict[str, Any]:
        """Return what the plug-in reads from an index, by name."""

    @staticmethod
    def describe_ivf(index: int) -> dict[str, Any]:
        """Return what the plug-in reads from an IVF index, by name."""

    @staticmethod
    def is_member(selector: int, slot: int, id: int) -> bool:
        """Ask an IDSelector through a slot of its vtable."""

    @staticmethod
    def adopt(index: int) -> None:
        """Replace FAISS's functions of an index, or drop the caches of one that is adopted."""

    @staticmethod
    def is_adopted(index: int) -> bool:
        """Return whether an index is adopted."""

    @staticmethod
    def why_not(index: int) -> str:
        """Return why an index cannot be adopted; empty if it can."""

    @staticmethod
    def count() -> int:
        """Return how many indexes are adopted."""

    @staticmethod
    def pack(index: int, levels: int) -> int:
        """Make and keep the first levels, 0: all, of a flat index's codes packed; return their bytes."""

    @staticmethod
    def unpack(index: int) -> None:
        """Drop a flat index's packed codes."""

    @staticmethod
    def packed_levels(index: int) -> int:
        """Return how many levels of its codes a flat index keeps packed; 0: none."""

    @staticmethod
    def cached_norms(index: int) -> dict[int, tuple[int, int]]:
        """Return how many vectors have cached norms and the bytes these take, by code length."""

    @staticmethod
    def set_tail(index: int, tail: StoredTail) -> None:
        """Let a flat index rank by the levels in a copy of a tail as well."""

    @staticmethod
    def tail(index: int) -> StoredTail | None:
        """Return the tail of a flat index."""

    @staticmethod
    def depth(index: int) -> tuple[int, int, int]:
        """Return levels, refine_levels and refine_factor of an index's searches by default; 0: not named."""

    @staticmethod
    def set_depth(index: int, levels: int, refine_levels: int, refine_factor: int) -> None:
        """Set what `depth` returns."""

    @staticmethod
    def training(index: int) -> str:
        """Return the training options of an index as `set_training` got them; empty: FAISS's trainer."""

    @staticmethod
    def set_gain_weights(index: int, weights: list[float]) -> None:
        """Set what the gain of each level counts when vectors are encoded; 1 everywhere if empty."""

    @staticmethod
    def set_training(index: int, options: str) -> None:
        """Let an index train by the trainer with these options."""

    @staticmethod
    def set_trainer(train: Callable[[_Floats, list[int], str], _Floats]) -> None:
        """Set what returns codebooks (M, K, d) for vectors (n, d), bits per level and training options."""

    is_built: bool  # False: only what search parameters and threads need is there

    @staticmethod
    def parameter_depth(parameters: int) -> tuple[int, int, int]:
        """Return levels, refine_levels and refine_factor of search parameters; 0: the index's default."""

    @staticmethod
    def set_parameter_depth(parameters: int, levels: int, refine_levels: int, refine_factor: int) -> None:
        """Keep what `parameter_depth` returns."""

    @staticmethod
    def leave_nprobe(parameters: int, to_index: bool) -> None:
        """Keep whether an index takes its own nprobe instead of the search parameters'."""

    @staticmethod
    def drop_parameters(parameters: int) -> None:
        """Forget search parameters that no longer exist."""

def simd_level() -> str:
    """Return the SIMD level in use: "scalar", "avx2" or "avx512"."""

def best_simd_level() -> str:
    """Return the highest SIMD level that this machine runs."""

def set_simd_level(name: str) -> None:
    """Use another SIMD level; results stay the same, bit for bit. ValueError if this machine lacks it."""

def factor(codebooks: _Codebooks) -> tuple[list[int], list[float], list[float]]:
    """Return (group, scale, shift) of codebooks (M, K, d): levels of one group share a codebook."""

def blocks(codebooks: _Codebooks) -> tuple[list[tuple[int, int]], _Floats]:
    """Return (ranges, axes) of codebooks (M, K, d): what few directions the codebooks of groups need.

    ranges: by group as in `factor`, (first axis, axes) among the rows of axes (F, d), or (-1, d) for all.
    """

def encode(
    x: _Floats, codebooks: _Codebooks, beam: int, gain_weights: list[float] = ...
) -> NDArray[np.int32]:
    """Return codes (n, M) of x (n, d) by beam search over codebooks (M, K, d).

    gain_weights, (M): what each level's reduction of the squared error counts; 1 everywhere if empty.
    """

def code_sums(x: _Floats, codes: NDArray[np.int32], K: int) -> NDArray[np.float64]:
    """Return sums (M, K, d): of the vectors x (n, d) whose level-m code in codes (n, M) is k."""

class StoredTail:
    """The last levels of codes in a mapped file, and those of vectors that were added since."""

    name: str  # of the file
    nbits: list[int]  # of the levels
    stored: int  # rows that are in the file
    row_bytes: int

    def __init__(
        self, file: int, name: str, d: int, nbits: list[int], n: int, codebooks_at: int, rows_at: int
    ) -> None:
        """Map an open file with n rows; ValueError if it is too short for them or for its codebooks."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def rows(self, begin: int, end: int) -> NDArray[np.uint8]:
        """Return a copy of rows [begin, end), (n, row_bytes)."""

    def codebooks(self) -> _Floats:
        """Return a copy of the codebooks, one level after the other."""

    def append(self, rows: NDArray[np.uint8]) -> None:
        """Append rows, which are kept in memory."""

    def add_to(self, rows: NDArray[np.int64], x: _Floats) -> None:
        """Add what the levels of these rows stand for to x (n, d)."""

class ArrayIndex:
    """Searches and encoding for an index whose codebooks and codes are handed over at each call.

    codebooks is one float32 array, level after level, of 2**nbits[m] codewords each; codes (N, code_size) are
    packed rows. What is cached about codes stays valid while the same memory holds the same codes.
    """

    def search(
        self,
        codebooks: _Floats,
        nbits: list[int],
        codes: NDArray[np.uint8],
        x: _Floats,
        k: int,
        levels: int,
        is_l2: bool,
        mask: NDArray[np.bool_] | None = None,
        refine_levels: int = 0,
        refine_factor: int = 0,
    ) -> tuple[_Floats, NDArray[np.int64]]:
        """Return distances and ids (n, k) of the nearest codes that the mask lets through.

        With a refine_factor, of so many times k nearest by `levels` the k nearest by `refine_levels`; 0: all.
        """

    def range_search(
        self,
        codebooks: _Floats,
        nbits: list[int],
        codes: NDArray[np.uint8],
        x: _Floats,
        radius: float,
        levels: int,
        is_l2: bool,
        mask: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.uint64], _Floats, NDArray[np.int64]]:
        """Return offsets (n + 1), distances and ids of all codes within the radius, ids ascending."""

    def encode(self, codebooks: _Floats, nbits: list[int], x: _Floats, beam: int) -> NDArray[np.int32]:
        """Return codes (n, M) by beam search."""

    def set_gain_weights(self, weights: list[float]) -> None:
        """Set what the gain of each level counts in `encode`; 1 everywhere if empty."""

    def pack(
        self,
        codebooks: _Floats,
        nbits: list[int],
        codes: NDArray[np.uint8],
        d: int,
        is_l2: bool,
        levels: int = 0,
    ) -> int:
        """Keep the first levels, 0: all, of the codes packed for searches; return the bytes they take."""

    def set_tail(self, tail: StoredTail) -> None:
        """Rank by the levels in a copy of a tail as well."""

    def tail(self) -> StoredTail | None:
        """Return the tail."""

    def append_to_tail(self, at: int, codes: NDArray[np.int32]) -> None:
        """Make the last levels of codes (n, M) the rows from `at` on; without a tail nothing."""

    def unpack(self) -> None:
        """Drop packed codes."""

    def packed_levels(self) -> int:
        """Return how many levels are packed; 0: none."""

    def forget(self) -> None:
        """Drop what is cached: codes or codebooks may have changed unnoticed."""
