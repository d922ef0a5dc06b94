"""Compiled core of drqfaiss: quantizer arithmetic and the FAISS plug-in."""

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]

plugin: ModuleType  # IndexDRQ inside FAISS, by the addresses of C++ objects

def simd_level() -> str:
    """Return the SIMD level in use: "scalar", "avx2" or "avx512"."""

def best_simd_level() -> str:
    """Return the highest SIMD level that this machine runs."""

def set_simd_level(name: str) -> None:
    """Use another SIMD level; results stay the same, bit for bit. ValueError if this machine lacks it."""

def factor(codebooks: _Floats) -> tuple[list[int], list[float], list[float]]:
    """Return (group, scale, shift) of codebooks (M, K, d): levels of one group share a codebook."""

def encode(x: _Floats, codebooks: _Floats, beam: int) -> NDArray[np.int32]:
    """Return codes (n, M) of x (n, d) by beam search over codebooks (M, K, d)."""

def code_sums(x: _Floats, codes: NDArray[np.int32], K: int) -> NDArray[np.float64]:
    """Return sums (M, K, d): of the vectors x (n, d) whose level-m code in codes (n, M) is k."""

def knn_search(
    codebooks: _Floats,
    codes: NDArray[np.uint8],
    x: _Floats,
    k: int,
    levels: int,
    metric: str,
    mask: NDArray[np.bool_] | None = None,
) -> tuple[_Floats, NDArray[np.int64]]:
    """Return distances and ids (n, k) of the nearest packed codes (N, code_size); metric "l2" or "ip"."""

def range_search(
    codebooks: _Floats,
    codes: NDArray[np.uint8],
    x: _Floats,
    radius: float,
    levels: int,
    metric: str,
    mask: NDArray[np.bool_] | None = None,
) -> list[tuple[_Floats, NDArray[np.int64]]]:
    """Return (distances, ids) by query of all vectors nearer than radius, ids ascending."""
