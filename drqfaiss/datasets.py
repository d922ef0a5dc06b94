"""Reads the files vector data comes in: ``.fvecs/.bvecs/.ivecs``, ``.npy`` and ann-benchmarks HDF5.

The ``vecs`` formats (http://corpus-texmex.irisa.fr) store each vector as an int32 dimension followed by its
components: float32 (``.fvecs``), uint8 (``.bvecs``) or int32 (``.ivecs``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import faiss
import numpy as np

from drqfaiss import _check, _hdf5
from drqfaiss._check import METRIC_NAMES
from drqfaiss._files import writing
from drqfaiss._headers import damaged_as_value_error, read_array_header

if TYPE_CHECKING:
    import h5py

# Vectors on disk, (n, d): slices are read when they are taken.
VectorsOnDisk: TypeAlias = "np.ndarray | _hdf5.HDF5Vectors | h5py.Dataset | RowRange"

VECS_DTYPES: dict[str, np.dtype] = {
    ".fvecs": np.dtype("<f4"),
    ".bvecs": np.dtype("u1"),
    ".ivecs": np.dtype("<i4"),
}
HDF5_SUFFIXES = (".hdf5", ".h5")
# ann-benchmarks calls "angular" what is the inner product of normalised vectors; others use the other names.
NORMALIZED = ("angular", "cosine")
HDF5_METRICS = {
    **dict.fromkeys(("euclidean", "l2"), faiss.METRIC_L2),
    **dict.fromkeys((*NORMALIZED, "ip", "dot"), faiss.METRIC_INNER_PRODUCT),
}
# Reading the dimension in front of every vector would read the whole file.
CHECKED_HEADERS = 4096
READ_ROWS = 65_536
ALL = slice(None)


@dataclass
class Dataset:
    """Vectors to train on, to index and to search with; files that are memory-mapped stay so.

    Attributes:
        name: what to call it in a table.
        learn: training vectors, (n, d).
        base: indexed vectors, (n, d).
        query: held-out queries, (n, d).
        groundtruth: ids of the exact neighbours in ``base``, nearest first, (queries, k), or None.
        metric: ``faiss.METRIC_L2`` or ``faiss.METRIC_INNER_PRODUCT``.
    """

    name: str
    learn: np.ndarray
    base: np.ndarray
    query: np.ndarray
    groundtruth: np.ndarray | None = None
    metric: int = faiss.METRIC_L2

    def __post_init__(self) -> None:
        """Raise ValueError when the parts do not belong together."""
        if self.metric not in METRIC_NAMES:
            raise ValueError(
                f"{self.name}: got metric {self.metric}, expected METRIC_L2 or METRIC_INNER_PRODUCT"
            )
        for part in ("learn", "base", "query"):
            shape = getattr(self, part).shape
            if len(shape) != 2 or shape[0] == 0 or shape[1] != self.d:
                raise ValueError(
                    f"{self.name}: got {part} of shape {shape}, expected (n > 0, {self.d}) as in base"
                )
        if self.groundtruth is not None:
            self._check_groundtruth(self.groundtruth)

    def _check_groundtruth(self, ids: np.ndarray) -> None:
        queries = len(self.query)
        if ids.ndim != 2 or len(ids) != queries:
            raise ValueError(f"{self.name}: got a groundtruth of shape {ids.shape}, expected ({queries}, k)")
        if ids.min() < 0 or ids.max() >= len(self.base):
            raise ValueError(
                f"{self.name}: got groundtruth ids in [{ids.min()}, {ids.max()}], "
                f"expected [0, {len(self.base) - 1}], the rows of base"
            )

    @property
    def d(self) -> int:
        """Dimensions of a vector."""
        return self.base.shape[-1]


def read_vectors(path: str | Path) -> np.ndarray:
    """Memory-map a ``.fvecs``, ``.bvecs``, ``.ivecs`` or ``.npy`` file as a read-only (n, d) array.

    Raises:
        ValueError: another suffix, a truncated file, rows of different length or an array that is not 2-D.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return _read_npy(path)
    if path.suffix.lower() in VECS_DTYPES:
        return _read_vecs(path)
    raise ValueError(f"{path}: got suffix {path.suffix!r}, expected one of {sorted([*VECS_DTYPES, '.npy'])}")


def open_vectors(name: str | Path) -> np.ndarray | _hdf5.HDF5Vectors:
    """Open vectors without reading them: a file as `read_vectors` takes it, or ``x.hdf5:part``.

    Args:
        name: path of a file; of HDF5 files with the name of the array in it, if there are several.

    Raises:
        FileNotFoundError: no such file.
        ImportError: an HDF5 file, and h5py is not installed.
        ValueError: not such a file, or no array of shape (n, d) of that name in it; an array that claims more
            than a file of this size can hold, or, of an HDF5 file, lies outside of it.
    """
    path, part = file_and_part(name)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: got a folder, pipe or device, expected a file")
    return _open_hdf5(path, part) if path.suffix.lower() in HDF5_SUFFIXES else read_vectors(path)


def file_and_part(name: str | Path) -> tuple[Path, str]:
    """Return the file of vectors, and the array in it that a name like ``x.hdf5:part`` asks for."""
    named_part = re.fullmatch(r"(.+\.(?:hdf5|h5)):(\w*)", str(name), re.IGNORECASE)
    return (Path(named_part[1]), named_part[2]) if named_part else (Path(name), "")


def distance_of(name: str | Path) -> str | None:
    """Return the distance that an HDF5 file says its neighbours are by, None where nothing is said.

    Raises:
        FileNotFoundError, ImportError, ValueError: as `open_vectors`; also for an unknown distance.
    """
    path, _ = file_and_part(name)
    if path.suffix.lower() not in HDF5_SUFFIXES:
        return None
    with _hdf5.open_file(path) as file:
        distance = _hdf5.text_attribute(path, file, "distance", "").lower()
    if distance and distance not in HDF5_METRICS:
        raise ValueError(f"{path}: got distance {distance!r}, expected one of {sorted(HDF5_METRICS)}")
    return distance or None


def metric_of(distance: str) -> int:
    """Return FAISS's metric for a distance as HDF5 files name it."""
    return HDF5_METRICS[distance]


class RowRange:
    """Rows first to last of vectors on disk, as vectors of their own that are read when they are sliced."""

    def __init__(self, vectors: np.ndarray | _hdf5.HDF5Vectors | h5py.Dataset, first: int, last: int) -> None:
        self._vectors, self.first_row, self.filename = vectors, first, _name_of(vectors)
        self.shape, self.dtype = (last - first, *vectors.shape[1:]), vectors.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Read a slice of rows."""
        start, stop, step = rows.indices(len(self))
        return self._vectors[self.first_row + start : self.first_row + stop : step]


def read_floats(vectors: VectorsOnDisk, rows: slice = ALL, normalize: bool = False) -> np.ndarray:
    """Return rows as a float32 array of their own, divided by their norms if asked for.

    Raises:
        TypeError: vectors that are no numbers.
    """
    with np.errstate(over="ignore"):  # What is too large for float32 becomes infinite, and is refused.
        name = f"{_name_of(vectors)}, rows {rows.start or 0} to {rows.stop or len(vectors)}"
        read = _check.floats(name, vectors[rows], 2)
    if not read.flags.owndata:  # FAISS would write to a file that is mapped read-only.
        read = read.copy()
    if normalize:
        faiss.normalize_L2(read)
    return read


def finite_floats(vectors: VectorsOnDisk, rows: slice = ALL, normalize: bool = False) -> np.ndarray:
    """Return what `read_floats` does, and require that all of it is finite.

    Raises:
        TypeError: vectors that are no numbers.
        ValueError: NaN or infinite values; names the file and its row.
    """
    read = read_floats(vectors, rows, normalize)
    first = getattr(vectors, "first_row", 0) + (rows.start or 0)
    _check.finite(_name_of(vectors), read, range(first, first + len(read)))
    return read


def _name_of(vectors: VectorsOnDisk) -> str:
    """Return the file that vectors come from."""
    return str(getattr(vectors, "filename", None) or "vectors")


def sample_rows(vectors: VectorsOnDisk, count: int, seed: int = 0) -> np.ndarray:
    """Return ``count`` random rows in file order as float32, or all rows if those are fewer.

    Never more than a block of the other rows is in memory.

    Raises:
        ValueError: NaN or infinite values among them; names the file and its row.
    """
    n = len(vectors)
    if count >= n:
        return finite_floats(vectors)
    rows = np.sort(np.random.default_rng(seed).choice(n, count, replace=False))
    blocks = np.split(rows, np.searchsorted(rows, np.arange(READ_ROWS, n, READ_ROWS)))
    starts = range(0, n, READ_ROWS)
    taken = [vectors[a : a + READ_ROWS][block - a] for a, block in zip(starts, blocks, strict=True)]
    with np.errstate(over="ignore"):
        return _require_finite(_name_of(vectors), np.concatenate(taken).astype(np.float32), rows)


def write_vecs(path: str | Path, vectors: np.ndarray) -> None:
    """Write (n, d) vectors as ``.fvecs``, ``.bvecs`` or ``.ivecs``, by the suffix of ``path``.

    The file appears whole, see `write_index`. Only floats are rounded: to float32, towards 0 for integers.

    Raises:
        ValueError: another suffix, vectors that are not 2-D, or numbers that the format cannot hold.
        OSError: the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in VECS_DTYPES:
        raise ValueError(f"{path}: got suffix {path.suffix!r}, expected one of {sorted(VECS_DTYPES)}")
    if vectors.ndim != 2:
        raise ValueError(f"{path}: got vectors of shape {vectors.shape}, expected (n, d)")
    n, d = vectors.shape
    rows = np.empty(n, _vecs_row(path, d))
    rows["d"] = d
    with np.errstate(over="ignore", invalid="ignore"):
        rows["vector"] = vectors
    _require_same(path, vectors, rows["vector"])
    with writing(path) as file:
        file.write(rows.data)


def _require_same(path: Path, given: np.ndarray, written: np.ndarray) -> None:
    """Require that numbers are what they were, up to the rounding of floats."""
    kinds = given.dtype.kind + written.dtype.kind
    if kinds == "ff":
        same = np.isfinite(given) == np.isfinite(written)
    elif kinds[0] == "f":
        same = np.abs(given - written.astype(np.float64)) < 1
    else:
        same = given == written
    if not same.all():
        row, column = (int(i) for i in np.argwhere(~same)[0])
        raise ValueError(
            f"{path}: got {given[row, column]} in row {row}, expected what {written.dtype} can hold; .npy can"
        )


def load_dataset(
    path: str | Path, metric: int | None = None, learn: int = 100_000, queries: int = 2_000, seed: int = 0
) -> Dataset:
    """Load a data set from any of the forms below.

    ===================================  ====================================================================
    ``path``                             parts
    ===================================  ====================================================================
    ``x.hdf5`` (ann-benchmarks)          base = train, query = test, groundtruth = neighbors;
                                         learn = ``learn`` random rows of base
    ``dir/sift`` or ``dir/``             ``sift_base.*``, ``sift_query.*`` and, where they exist,
                                         ``sift_learn.*`` (else random rows of base), ``sift_groundtruth.*``
    ``x.fvecs``, ``.bvecs``, ``.npy``    one file: ``queries`` and ``learn`` random rows are taken out of it,
                                         what is left is base
    ===================================  ====================================================================

    Args:
        path: an ann-benchmarks file, a directory, the common prefix of several files or one file.
        metric: ``faiss.METRIC_L2`` or ``faiss.METRIC_INNER_PRODUCT``; None: what the file says, else L2.
        learn: at most so many training vectors where they must be drawn, never more than half of the rows.
        queries: at most so many queries where they must be drawn, never more than a tenth of the rows.
        seed: of the draws.

    Raises:
        FileNotFoundError: no such data.
        ValueError: a file that is truncated or inconsistent.
    """
    path = Path(path)
    rng = np.random.default_rng(seed)
    if path.suffix.lower() in HDF5_SUFFIXES:
        return _load_hdf5(path, metric, learn, rng)
    if path.is_file():
        return _split_file(path, metric, learn, queries, rng)
    return _load_parts(path, metric, learn, rng)


def _vecs_row(path: Path, d: int) -> np.dtype:
    return np.dtype([("d", "<i4"), ("vector", VECS_DTYPES[path.suffix.lower()], (d,))])


def _read_vecs(path: Path) -> np.ndarray:
    header = np.fromfile(path, "<i4", count=1)
    if len(header) == 0 or header[0] <= 0:
        raise ValueError(f"{path}: got {header.tolist()} at its start, expected a positive int32 dimension")
    d = int(header[0])
    size = path.stat().st_size
    if 4 + d * VECS_DTYPES[path.suffix.lower()].itemsize > size:  # NumPy would find it too large for a type.
        raise ValueError(
            f"{path}: got dimension {d} at its start, of {size} bytes, expected a whole one; byte order?"
        )
    row = _vecs_row(path, d)
    if size % row.itemsize:
        raise ValueError(
            f"{path}: got {size} bytes, expected a multiple of {row.itemsize} (dimension {d}); truncated?"
        )
    rows = np.memmap(path, row, mode="r")
    sample = np.unique(np.linspace(0, len(rows) - 1, CHECKED_HEADERS).astype(np.int64))
    wrong = sample[rows["d"][sample] != d]
    if len(wrong):
        raise ValueError(
            f"{path}: got row {wrong[0]} of dimension {rows['d'][wrong[0]]}, expected {d} as in row 0"
        )
    return rows["vector"]


def _read_npy(path: Path) -> np.ndarray:
    kind = "truncated or not an .npy file of numbers"
    with damaged_as_value_error(str(path), kind), open(path, "rb") as file:
        header, start, size = read_array_header(file), file.tell(), path.stat().st_size
        if len(header.shape) != 2:
            raise ValueError(f"{path}: got an array of shape {header.shape}, expected (n, d)")
        if header.nbytes > size - start:
            raise ValueError(f"got {size} bytes, expected {start + header.nbytes}")
        order: Literal["F", "C"] = "F" if header.fortran_order else "C"
        if not header.nbytes:
            return np.empty(header.shape, header.dtype)
        return np.memmap(path, header.dtype, "r", start, header.shape, order)


def _sample_rows(vectors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``count`` random rows, in file order, or half of the rows if that is fewer."""
    n = len(vectors)
    rows = np.sort(rng.choice(n, min(count, (n + 1) // 2), replace=False))
    return _require_finite(_name_of(vectors), vectors[rows], rows)


def _require_finite(name: str, vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    _check.finite(name, vectors, rows)
    return vectors


def _open_hdf5(path: Path, part: str) -> _hdf5.HDF5Vectors:
    file = _hdf5.open_file(path)
    names = _hdf5.array_names(path, file)
    if not part and len(names) == 1:
        part = names[0]
    if part not in names and part not in file:
        raise ValueError(f"{path}: got part {part!r}, expected {path}:PART, PART one of {names}")
    return _hdf5.open_array(path, file, part)


def _load_hdf5(path: Path, metric: int | None, learn: int, rng: np.random.Generator) -> Dataset:
    with _hdf5.open_file(path) as file:
        missing = {part for part in ("train", "test", "neighbors") if part not in file}
        if missing:
            raise ValueError(f"{path}: got no {sorted(missing)}, expected an ann-benchmarks file")
        base, query = (finite_floats(_hdf5.open_array(path, file, part)) for part in ("train", "test"))
        groundtruth = _hdf5.open_array(path, file, "neighbors")[:].astype(np.int64)
        distance = _hdf5.text_attribute(path, file, "distance", "euclidean").lower()
    if distance not in HDF5_METRICS:
        raise ValueError(f"{path}: got distance {distance!r}, expected one of {sorted(HDF5_METRICS)}")
    own_metric = HDF5_METRICS[distance]
    if distance in NORMALIZED:
        faiss.normalize_L2(base)
        faiss.normalize_L2(query)
    metric = own_metric if metric is None else metric
    return Dataset(
        name=path.stem,
        learn=_sample_rows(base, learn, rng),
        base=base,
        query=query,
        # The neighbours in the file hold for its own metric only.
        groundtruth=groundtruth if metric == own_metric else None,
        metric=metric,
    )


def _split_file(
    path: Path, metric: int | None, learn: int, queries: int, rng: np.random.Generator
) -> Dataset:
    vectors = read_vectors(path)
    n = len(vectors)
    if n < 10:
        raise ValueError(f"{path}: got {n} vectors, expected at least 10 to take queries from")
    queries = min(queries, n // 10)
    learn = min(learn, (n - queries) // 2)
    parts = np.split(rng.permutation(n), [queries, queries + learn])
    query_rows, learn_rows, base_rows = (np.sort(part) for part in parts)
    return Dataset(
        name=path.stem,
        learn=_require_finite(str(path), vectors[learn_rows], learn_rows),
        base=_require_finite(str(path), vectors[base_rows], base_rows),
        query=_require_finite(str(path), vectors[query_rows], query_rows),
        metric=faiss.METRIC_L2 if metric is None else metric,
    )


def _load_parts(path: Path, metric: int | None, learn: int, rng: np.random.Generator) -> Dataset:
    base_path = _find_base(path)
    prefix = base_path.name[: -len("base" + base_path.suffix)]
    files = {part: _find_part(base_path.parent, prefix + part) for part in ("learn", "query", "groundtruth")}
    if files["query"] is None:
        raise FileNotFoundError(
            f"{base_path.parent / (prefix + 'query')}.*: no queries beside {base_path.name}"
        )
    base = read_vectors(base_path)
    return Dataset(
        name=prefix.rstrip("_") or base_path.parent.name,
        learn=read_vectors(files["learn"]) if files["learn"] else _sample_rows(base, learn, rng),
        base=base,
        query=read_vectors(files["query"]),
        groundtruth=read_vectors(files["groundtruth"]) if files["groundtruth"] else None,
        metric=faiss.METRIC_L2 if metric is None else metric,
    )


def _find_base(path: Path) -> Path:
    """Find the one base file in a directory, or the one of a prefix."""
    if path.is_dir():
        candidates = [
            file for file in sorted(path.iterdir()) if _is_vector_file(file) and file.stem.endswith("base")
        ]
        if len(candidates) != 1:
            names = [file.name for file in candidates]
            raise FileNotFoundError(
                f"{path}: got {names} that end in 'base', expected one such file, or name a prefix"
            )
        return candidates[0]
    base = _find_part(path.parent, f"{path.name}_base")
    if base is None:
        raise FileNotFoundError(
            f"{path}: no such file or directory, and no {path}_base.fvecs, .bvecs or .npy"
        )
    return base


def _find_part(directory: Path, stem: str) -> Path | None:
    candidates = (directory / (stem + suffix) for suffix in [*VECS_DTYPES, ".npy"])
    return next((file for file in candidates if file.is_file()), None)


def _is_vector_file(path: Path) -> bool:
    return path.suffix.lower() in (*VECS_DTYPES, ".npy")
