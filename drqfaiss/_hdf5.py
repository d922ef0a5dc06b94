"""Arrays of numbers in HDF5 files of others: everything that reaches beyond the file itself is refused.

An HDF5 file may name other files as storage, as a part of an array or behind a link, and plug-ins that unpack
it; and it may claim arrays and chunks of any size.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drqfaiss._headers import NUMBERS, damaged_as_value_error, most_claimed

if TYPE_CHECKING:
    import h5py

# What needs no plug-in: deflate, shuffle, fletcher32, szip, nbit, scaleoffset and h5py's lzf.
FILTERS = (1, 2, 3, 4, 5, 6, 32000)
UNREADABLE = "not a readable HDF5 file"


class HDF5Vectors:
    """An array (n, d) in an HDF5 file, of which slices are read when they are taken."""

    def __init__(self, name: str, dataset: h5py.Dataset) -> None:
        self.filename, self._dataset = name, dataset
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype = dataset.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Read rows.

        Raises:
            ValueError: they are damaged; names file and array.
        """
        with damaged_as_value_error(self.filename, "cannot be read"):
            return self._dataset[rows]


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file, or say what is missing."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{path}: reading HDF5 needs h5py: pip install 'drqfaiss[cli]'") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise type(error)(f"{path}: {UNREADABLE}: {error}") from error
    except Exception as error:
        raise ValueError(f"{path}: {UNREADABLE}: {error}") from error


def open_array(path: Path, file: h5py.File, part: str) -> HDF5Vectors:
    """Return the array of numbers (n, d) of this name.

    Raises:
        ValueError: there is none, or it is not one that lies in the file, unpacks without plug-ins and claims
            no more than a file of this size can hold.
    """
    name = f"{path}:{part}"
    with damaged_as_value_error(name, UNREADABLE):
        dataset = _in_file(file, part)
        reason = "nothing there, or a link" if dataset is None else _why_not(dataset, path)
        if dataset is None or reason:
            raise ValueError(f"{name}: got {reason}, expected an array (n, d) of numbers in the file itself")
        return HDF5Vectors(name, dataset)


def array_names(path: Path, file: h5py.File) -> list[str]:
    """Return the names of all two-dimensional arrays that lie in the file."""
    with damaged_as_value_error(str(path), UNREADABLE):
        found = {name: _in_file(file, name) for name in file}
        return sorted(
            name for name, array in found.items() if array is not None and len(array.shape or ()) == 2
        )


def text_attribute(path: Path, file: h5py.File, name: str, default: str) -> str:
    """Return an attribute as text, whichever of HDF5's types of strings it has."""
    with damaged_as_value_error(str(path), UNREADABLE):
        value = np.asarray(file.attrs.get(name, default)).ravel()
        first = value[0] if len(value) else ""
        return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def _in_file(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Return an array, if the name leads to one without a link to somewhere else, which is not followed."""
    import h5py

    if name not in file or not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return None
    found = file[name]
    return found if isinstance(found, h5py.Dataset) else None


def _why_not(dataset: h5py.Dataset, path: Path) -> str:
    """Return why an array is not read; empty if it is."""
    if dataset.external or dataset.is_virtual:
        return "numbers that lie in other files"
    if dataset.dtype.kind not in NUMBERS:
        return f"an array of {dataset.dtype}"
    if len(dataset.shape or ()) != 2:
        return f"shape {dataset.shape}"
    packing = dataset.id.get_create_plist()
    filters = [packing.get_filter(i)[0] for i in range(packing.get_nfilters())]
    if unknown := set(filters) - set(FILTERS):
        return f"numbers packed by filters {sorted(unknown)}, which need plug-ins"
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    claimed, most = (
        max(math.prod(dataset.shape) * dataset.dtype.itemsize, chunk),
        most_claimed(os.path.getsize(path)),
    )
    return f"{claimed} bytes, of which a file of this size can have {most}" if claimed > most else ""
