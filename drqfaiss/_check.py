"""Checks of arguments: each returns the argument as it is used, or raises naming value and expectation."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

MOST_SHOWN = 200  # Characters of a value that a message shows whole.
MOST_INT64 = 2**63 - 1
METRIC_NAMES = {1: "l2", 0: "ip"}  # FAISS's numbers; whoever needs only the names need not load it


def shown(value: Any) -> str:
    """Write a value for an error message: in one line, and not the whole of a large one."""
    text = (
        np.array2string(value, separator=", ", threshold=12) if isinstance(value, np.ndarray) else repr(value)
    )
    line = " ".join(text.split())
    return line if len(line) <= MOST_SHOWN else f"{line[:120]} … {line[-40:]}"


def integer(name: str, value: Any, lowest: int, highest: int | None = None) -> int:
    """Return an integer in [lowest, highest]."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: got {shown(value)}, expected an integer") from None
    if number < lowest or (highest is not None and number > highest):
        limit = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
        raise ValueError(f"{name}: got {number}, expected {limit}")
    return number


def boolean(name: str, value: Any) -> bool:
    """Return True or False, Python's own; other values that have a truth are refused."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: got {shown(value)}, expected True or False")
    return value


def one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return one of the allowed words."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name}: got {shown(value)}, expected one of {', '.join(map(repr, allowed))}")
    return value


def number(name: str, value: Any) -> float:
    """Return a real number that is not NaN."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: got {shown(value)}, expected a number") from None
    if math.isnan(result):
        raise ValueError(f"{name}: got {shown(value)}, expected a number")
    return result


def share(name: str, value: Any) -> float:
    """Return a number between 0 and 1."""
    part = number(name, value)
    if not 0 < part < 1:
        raise ValueError(f"{name}: got {part:g}, expected a share above 0 and below 1")
    return part


def float32(name: str, value: Any) -> float:
    """Return a real number as the nearest float32, which is infinite for those beyond its range."""
    with np.errstate(over="ignore"):
        return float(np.float32(number(name, value)))


def metric(name: str, value: Any) -> int:
    """Return a metric that indexes search with."""
    if value not in tuple(METRIC_NAMES):
        raise ValueError(f"{name}: got {shown(value)}, expected METRIC_L2 or METRIC_INNER_PRODUCT")
    return value


def instance(name: str, value: Any, expected: type) -> None:
    """Require an object of a class."""
    if not isinstance(value, expected):
        raise TypeError(f"{name}: got {shown(value)}, expected a faiss.{expected.__name__}")


def floats(name: str, value: ArrayLike, ndim: int) -> NDArray[np.float32]:
    """Return real numbers as a C-contiguous float32 array; only its first dimension may be empty."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # Its rows have different lengths.
        raise ValueError(f"{name}: got no array ({error}), expected one of {ndim} dimensions") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: got {array.dtype}, expected numbers that convert to float32")
    if array.ndim != ndim or 0 in array.shape[1:]:
        raise ValueError(f"{name}: got shape {array.shape}, expected {ndim} dimensions")
    return np.ascontiguousarray(array, dtype=np.float32)


def vectors(name: str, value: ArrayLike, d: int) -> NDArray[np.float32]:
    """Return vectors as a C-contiguous float32 array of shape (n, d)."""
    array = floats(name, value, 2)
    if array.shape[1] != d:
        raise ValueError(f"{name}: got shape {array.shape}, expected (n, {d})")
    return array


def finite(
    name: str, array: NDArray[np.float32], rows: Sequence[int] | NDArray[np.int64] | None = None
) -> None:
    """Require that no value is NaN or infinite; `rows` says which rows of the whole these are, in errors."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        first = [int(i) for i in bad[0]]
        if rows is not None:
            first[0] = int(rows[first[0]])
        raise ValueError(
            f"{name}: got {len(bad)} values that are NaN or infinite, the first at {tuple(first)}, "
            "expected finite ones"
        )


def codes(name: str, value: Any, code_size: int) -> NDArray[np.uint8]:
    """Return codes as a C-contiguous array of shape (n, code_size); no other type is meant to be codes."""
    array = np.asarray(value)
    if array.dtype != np.uint8:
        raise TypeError(f"{name}: got {array.dtype}, expected uint8")
    if array.ndim != 2 or array.shape[1] != code_size:
        raise ValueError(f"{name}: got shape {array.shape}, expected (n, {code_size})")
    return np.ascontiguousarray(array)


def ids(name: str, value: ArrayLike) -> NDArray[np.int64]:
    """Return vector ids as a one-dimensional int64 array."""
    return integers(name, value, 1)


def integers(name: str, value: ArrayLike, ndim: int) -> NDArray[np.int64]:
    """Return integers as a C-contiguous int64 array; those of other types have to fit."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # Its rows have different lengths.
        raise ValueError(f"{name}: got no array ({error}), expected one of {_dimensions(ndim)}") from None
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: got {array.dtype}, expected integers")
    if array.ndim != ndim:
        raise ValueError(f"{name}: got shape {array.shape}, expected {_dimensions(ndim)}")
    if array.size and array.dtype.kind == "u" and array.max() > MOST_INT64:
        raise ValueError(f"{name}: got {array.max()}, expected at most {MOST_INT64}")
    return np.ascontiguousarray(array, dtype=np.int64)


def _dimensions(count: int) -> str:
    return "one dimension" if count == 1 else f"{count} dimensions"


def output(name: str, array: Any, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return the array to write results to: the given one if it fits exactly, a new one for None."""
    if array is None:
        return np.empty(shape, dtype)
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        got = array.dtype if isinstance(array, np.ndarray) else shown(array)
        raise TypeError(f"{name}: got {got}, expected a {np.dtype(dtype)} array")
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")
    if not (array.flags.c_contiguous and array.flags.writeable and array.flags.aligned):
        raise ValueError(f"{name}: got one in pieces or read-only, expected a C-contiguous, writeable array")
    return array
