"""The work of an index without the plug-in: FAISS keeps the codes, Python hands them to the core as arrays.

What is known about an index beyond FAISS's fields stays with its Python object, as there is no telling when
the C++ object goes. Flat indexes search as fast as inside FAISS. Lists are searched one by one, and the norms
of their codes are computed at each search.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss import _check as check
from drqfaiss._core import ArrayIndex, plugin
from drqfaiss._faiss_abi.layout import address
from drqfaiss._indexes.trainer import train

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Codes = NDArray[np.uint8]
Ranges = tuple[NDArray[np.uint64], Floats, Ids]
Parameters: TypeAlias = faiss.SearchParameters | None


@dataclass
class _State:
    levels: int = 0
    training: str = ""
    core: ArrayIndex = field(default_factory=ArrayIndex)


def _state(index: faiss.Index) -> _State:
    """Return what is known about an index, made at the first call."""
    if "_drqfaiss_state" not in index.__dict__:
        index.__dict__.setdefault("_drqfaiss_state", _State())  # another thread may have been faster
    state: _State = index.__dict__["_drqfaiss_state"]
    return state


class FlatArraySearch:
    """For a faiss.IndexResidualQuantizer, see `engines.Engine`."""

    def why_not(self, index: faiss.Index) -> str:
        if index.metric_type not in check.METRIC_NAMES:
            return f"its metric_type is {index.metric_type}, expected METRIC_L2 or METRIC_INNER_PRODUCT"
        widths = [bits for bits in _widths(index) if not 1 <= bits <= 16]
        return f"it has a level of {widths[0]} bits, expected 1 to 16" if widths else ""

    def adopt(self, index: faiss.Index) -> None:
        if reason := self.why_not(index):
            raise ValueError(f"cannot adopt this index: {reason}")
        _state(index).core.forget()

    def is_adopted(self, index: faiss.Index) -> bool:
        return True

    def levels(self, index: faiss.Index) -> int:
        return _state(index).levels

    def set_levels(self, index: faiss.Index, levels: int) -> None:
        _state(index).levels = levels

    def training(self, index: faiss.Index) -> str:
        return _state(index).training

    def set_training(self, index: faiss.Index, options: str, gain_weights: list[float]) -> None:
        _state(index).training = options
        _state(index).core.set_gain_weights(gain_weights)

    def train(self, index: faiss.Index, x: Floats) -> None:
        if self.training(index):
            _train(index, x)
        else:
            index.train_c(len(x), faiss.swig_ptr(x))

    def add(self, index: faiss.Index, x: Floats, ids: Ids | None) -> None:
        codes = np.empty((len(x), index.sa_code_size()), np.uint8)
        self.sa_encode(index, x, codes)
        append_codes(index, codes, ids)

    def sa_encode(self, index: faiss.Index, x: Floats, codes: Codes) -> None:
        _encode(index, x, codes)

    def search(self, index: faiss.Index, x: Floats, k: int, params: Parameters, D: Floats, ids: Ids) -> None:
        codes = _flat_codes(index)
        core = _state(index).core
        D[:], ids[:] = core.search(
            *_quantizer(index),
            codes,
            x,
            k,
            _levels(index, params),
            _is_l2(index),
            _mask(params, np.arange(len(codes))),
        )

    def search_preassigned(self, *_: Any) -> None:
        raise NotImplementedError("a flat index has no lists")

    def range_search(self, index: faiss.Index, x: Floats, radius: float, params: Parameters) -> Ranges:
        codes = _flat_codes(index)
        levels, mask = _levels(index, params), _mask(params, np.arange(len(codes)))
        core = _state(index).core
        return core.range_search(*_quantizer(index), codes, x, radius, levels, _is_l2(index), mask)

    def search_and_reconstruct(
        self, index: faiss.Index, x: Floats, k: int, params: Parameters, D: Floats, ids: Ids, R: Floats
    ) -> None:
        self.search(index, x, k, params, D, ids)
        found = ids >= 0
        R[~found] = np.nan
        R[found] = index.rq.decode(_flat_codes(index)[ids[found]])

    def pack(self, index: faiss.Index) -> int:
        return _state(index).core.pack(*_quantizer(index), _flat_codes(index), index.d, _is_l2(index))

    def unpack(self, index: faiss.Index) -> None:
        _state(index).core.unpack()

    def is_packed(self, index: faiss.Index) -> bool:
        return _state(index).core.is_packed()


class IvfArraySearch(FlatArraySearch):
    """For a faiss.IndexIVFResidualQuantizer, see `engines.Engine`."""

    def why_not(self, index: faiss.Index) -> str:
        if reason := super().why_not(index):
            return reason
        if index.quantizer is None:
            return "it has no coarse quantizer"
        coarse = index.quantizer.metric_type
        if index.by_residual and coarse != index.metric_type:
            return (
                f"its coarse quantizer has metric_type {coarse}, expected its own, {index.metric_type}, "
                "because distances are computed from the centroids'"
            )
        return ""

    def train(self, index: faiss.Index, x: Floats) -> None:
        if not self.training(index):
            index.train_c(len(x), faiss.swig_ptr(x))
            return
        index.train_q1(len(x), faiss.swig_ptr(x), index.verbose, index.metric_type)
        _train(index, _residuals(index, x, _assigned(index, x)))

    def sa_encode(self, index: faiss.Index, x: Floats, codes: Codes) -> None:
        keys = _assigned(index, x)
        width = index.coarse_code_size()
        for byte in range(width):
            codes[:, byte] = keys >> (8 * byte) & 255
        packed = np.empty((len(x), index.code_size), np.uint8)
        _encode(index, _residuals(index, x, keys), packed)
        codes[:, width:] = packed

    def search(self, index: faiss.Index, x: Floats, k: int, params: Parameters, D: Floats, ids: Ids) -> None:
        keys, distances = _probed(index, x, params)
        self.search_preassigned(index, x, k, keys, distances, params, D, ids)

    def search_preassigned(
        self,
        index: faiss.Index,
        x: Floats,
        k: int,
        keys: Ids,
        distances: Floats,
        params: Parameters,
        D: Floats,
        ids: Ids,
    ) -> None:
        self._found(index, x, k, keys, distances, params, D, ids)

    def search_and_reconstruct(
        self, index: faiss.Index, x: Floats, k: int, params: Parameters, D: Floats, ids: Ids, R: Floats
    ) -> None:
        keys, distances = _probed(index, x, params)
        numbers, rows = self._found(index, x, k, keys, distances, params, D, ids)
        R[ids < 0] = np.nan
        for number in np.unique(numbers[ids >= 0]):
            here = (ids >= 0) & (numbers == number)
            with _List(index, int(number)) as inverted_list:
                vectors = index.rq.decode(inverted_list.codes[rows[here]])
            R[here] = vectors + _centroid(index, int(number)) if index.by_residual else vectors

    def range_search(self, index: faiss.Index, x: Floats, radius: float, params: Parameters) -> Ranges:
        keys, distances = _probed(index, x, params)
        levels, quantizer, core = _levels(index, params), _quantizer(index), _state(index).core
        found = [(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64))]
        for part in _parts(index, keys, 0):  # FAISS's range searches do not stop at max_codes
            with _List(index, part.number) as scanned:
                codes, ids = scanned.codes[: part.n], scanned.ids[: part.n].copy()
                mask, entered = _mask(params, ids), _entered(index, x[part.queries], part.number)
                for group, offset in _offsets(index, part, distances):
                    lims, D, rows = core.range_search(
                        *quantizer, codes, entered[group], radius - offset, levels, _is_l2(index), mask
                    )
                    owners = np.repeat(part.queries[group], np.diff(lims).astype(int))
                    found.append((owners, D + np.float32(offset), ids[rows]))
        owners, D, ids = map(np.concatenate, zip(*found, strict=True))
        order = np.lexsort((ids, owners))
        counts = np.bincount(owners, minlength=len(x))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64), D[order], ids[order]

    def _found(
        self,
        index: faiss.Index,
        x: Floats,
        k: int,
        keys: Ids,
        distances: Floats,
        params: Parameters,
        D: Floats,
        ids: Ids,
    ) -> tuple[Ids, Ids]:
        """Write the k nearest to D and ids; return their list numbers and rows, both (n, k)."""
        levels, quantizer, core = _levels(index, params), _quantizer(index), _state(index).core
        sign = 1 if _is_l2(index) else -1
        shifted = not _is_l2(index) and index.by_residual
        found = []
        for part in _parts(index, keys, _max_codes(index, params)):
            with _List(index, part.number) as scanned:
                codes, list_ids = scanned.codes[: part.n], scanned.ids[: part.n].copy()
                entered = _entered(index, x[part.queries], part.number)
                near, rows = core.search(
                    *quantizer,
                    codes,
                    entered,
                    min(k, part.n),
                    levels,
                    _is_l2(index),
                    _mask(params, list_ids),
                )
            if shifted:
                near += distances[part.queries, part.probes][:, None]
            query, place = np.nonzero(rows >= 0)
            row = rows[query, place]
            numbers = np.full(len(row), part.number)
            found.append((part.queries[query], near[query, place], list_ids[row], numbers, row))
        D[:], ids[:] = sign * np.finfo(np.float32).max, -1
        where = np.full((2, *ids.shape), -1)
        if found:
            owners, near, candidates, numbers, rows = map(np.concatenate, zip(*found, strict=True))
            order = np.lexsort((candidates, sign * near, owners))
            starts = np.searchsorted(owners[order], np.arange(len(x)))
            rank = np.arange(len(order)) - starts[owners[order]]
            order, rank = order[rank < k], rank[rank < k]
            owners = owners[order]
            D[owners, rank], ids[owners, rank] = near[order], candidates[order]
            where[:, owners, rank] = numbers[order], rows[order]
        return where[0], where[1]


FLAT, IVF = FlatArraySearch(), IvfArraySearch()


def append_codes(index: faiss.Index, codes: Codes, ids: Ids | None) -> None:
    """Append codes of shape (n, sa_code_size()); a flat index takes no ids."""
    if hasattr(index, "add_sa_codes_c"):
        index.add_sa_codes_c(len(codes), *map(_pointer, (codes, ids)))
        return
    held = index.ntotal * index.code_size  # FAISS has no such function for flat indexes before 1.10
    index.codes.resize(held + codes.size)
    faiss.rev_swig_ptr(index.codes.data(), held + codes.size)[held:] = codes.ravel()
    index.ntotal += len(codes)


def _pointer(array: NDArray[Any] | None) -> Any:
    return None if array is None else faiss.swig_ptr(array)


def _widths(index: faiss.Index) -> list[int]:
    return faiss.vector_to_array(index.rq.nbits).tolist()


def _quantizer(index: faiss.Index) -> tuple[Floats, list[int]]:
    """Return FAISS's own codebooks, level after level, and the bits of each level."""
    codebooks = index.rq.codebooks
    return faiss.rev_swig_ptr(codebooks.data(), codebooks.size()), _widths(index)


def _flat_codes(index: faiss.Index) -> Codes:
    """Return FAISS's own codes."""
    shape = index.ntotal, index.code_size
    held, needed = index.codes.size(), index.ntotal * index.code_size
    if held < needed:
        raise RuntimeError(f"the index holds {held} bytes of codes, expected {needed}")
    return (
        faiss.rev_swig_ptr(index.codes.data(), needed).reshape(shape) if needed else np.empty(shape, np.uint8)
    )


def _is_l2(index: faiss.Index) -> bool:
    return bool(index.metric_type == faiss.METRIC_L2)


def _levels(index: faiss.Index, params: Parameters) -> int:
    asked = 0 if params is None else plugin.parameter_levels(address(params))
    return asked or _state(index).levels or index.rq.M


def _mask(params: Parameters, ids: Ids) -> NDArray[np.bool_] | None:
    """Return which ids the selector of the parameters lets through; None for all."""
    selector = None if params is None else params.sel
    if selector is None:
        return None
    return np.fromiter(map(selector.is_member, ids.tolist()), np.bool_, len(ids))


def _encode(index: faiss.Index, x: Floats, packed: Codes) -> None:
    rq = index.rq
    codes = _state(index).core.encode(*_quantizer(index), x, rq.max_beam_size)
    rq.pack_codes(len(x), faiss.swig_ptr(codes), faiss.swig_ptr(packed))


def _train(index: faiss.Index, x: Floats) -> None:
    """Train the residual quantizer of an index on x."""
    rq = index.rq
    if rq.norm_bits:  # only FAISS's own training fits the table that stored norms are quantized with
        raise RuntimeError(
            f"the search type stores a norm of {rq.norm_bits} bits, expected one without stored norms "
            "(ST_norm_from_LUT)"
        )
    codebooks = train(x, _widths(index), _state(index).training)
    faiss.copy_array_to_vector(np.ascontiguousarray(codebooks, np.float32).ravel(), rq.codebooks)
    if rq.search_type == faiss.AdditiveQuantizer.ST_norm_from_LUT:
        rq.compute_codebook_tables()
    rq.is_trained = index.is_trained = True


def _assigned(index: faiss.Index, x: Floats) -> Ids:
    keys = np.empty(len(x), np.int64)
    index.quantizer.assign_c(len(x), faiss.swig_ptr(x), faiss.swig_ptr(keys), 1)
    if (lost := np.flatnonzero(keys < 0)).size:
        raise RuntimeError(f"vector {lost[0]} goes to no list, expected a centroid whose distance is a float")
    return keys


def _residuals(index: faiss.Index, x: Floats, keys: Ids) -> Floats:
    """Return what codes are of: what centroids leave of vectors, or the vectors."""
    if not index.by_residual:
        return x
    residuals = np.empty_like(x)
    pointers = map(faiss.swig_ptr, (x, residuals, keys))
    index.quantizer.compute_residual_n(len(x), *pointers)
    return residuals


def _centroid(index: faiss.Index, number: int) -> Floats:
    centroid = np.empty(index.d, np.float32)
    index.quantizer.reconstruct_c(number, faiss.swig_ptr(centroid))
    return centroid


def _probed(index: faiss.Index, x: Floats, params: Parameters) -> tuple[Ids, Floats]:
    """Return the lists to look into, and the centroids' distances, both (n, nprobe)."""
    nprobe = min(index.nprobe if params is None else params.nprobe, index.nlist)
    keys, distances = np.empty((len(x), nprobe), np.int64), np.empty((len(x), nprobe), np.float32)
    coarse_params = None if params is None else params.quantizer_params
    arrays = faiss.swig_ptr(distances), faiss.swig_ptr(keys)
    index.quantizer.search_c(len(x), faiss.swig_ptr(x), nprobe, *arrays, coarse_params)
    return keys, distances


def _max_codes(index: faiss.Index, params: Parameters) -> int:
    return int(index.max_codes if params is None else params.max_codes)


@dataclass
class _Part:
    """The first n codes of a list, for the queries that look into them."""

    number: int
    n: int
    queries: Ids
    probes: Ids  # of each query: how many lists it looks into before this one


def _parts(index: faiss.Index, keys: Ids, max_codes: int) -> Iterator[_Part]:
    """Yield what is searched at once: the same codes, for queries that look at the same."""
    sizes = np.zeros(keys.shape, np.int64)
    for number in np.unique(keys[keys >= 0]):
        sizes[keys == number] = index.invlists.list_size(int(number))
    if max_codes:
        before = np.cumsum(sizes, axis=1) - sizes
        sizes = np.clip(max_codes - before, 0, sizes)
    queries, probes = np.nonzero(sizes > 0)
    wanted = np.stack([keys[queries, probes], sizes[queries, probes]])
    for number, n in np.unique(wanted, axis=1).T:
        here = (wanted[0] == number) & (wanted[1] == n)
        yield _Part(int(number), int(n), queries[here], probes[here])


def _offsets(index: faiss.Index, part: _Part, distances: Floats) -> Iterator[tuple[slice, float]]:
    """Yield groups of a part's queries, and what their centroid adds to the products within the list."""
    if _is_l2(index) or not index.by_residual:
        yield slice(None), 0.0
        return
    for i, (query, probe) in enumerate(zip(part.queries, part.probes, strict=True)):
        yield slice(i, i + 1), float(distances[query, probe])


def _entered(index: faiss.Index, x: Floats, number: int) -> Floats:
    """Return queries as they are compared with the codes of a list."""
    if _is_l2(index) and index.by_residual:
        return _residuals(index, x, np.full(len(x), number))
    return x


class _List:
    """Codes and ids of an inverted list, FAISS's own, while they are being read."""

    def __init__(self, index: faiss.Index, number: int) -> None:
        self._lists, self._number = index.invlists, number
        n = self._lists.list_size(number)
        self._read = self._lists.get_codes(number), self._lists.get_ids(number)
        self.codes = faiss.rev_swig_ptr(self._read[0], n * index.code_size).reshape(n, index.code_size)
        self.ids = faiss.rev_swig_ptr(self._read[1], n)

    def __enter__(self) -> _List:
        return self

    def __exit__(self, *_: Any) -> None:
        self._lists.release_codes(self._number, self._read[0])
        self._lists.release_ids(self._number, self._read[1])
