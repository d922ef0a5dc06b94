"""The work of inverted lists without the plug-in: they are searched one by one, in the core.

The norms of their codes are computed at each search.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss._indexes.array_work import (
    ArraySearch,
    depth_of,
    encode,
    is_l2,
    levels_of,
    mask_of,
    quantizer_of,
    state_of,
    train_quantizer,
)
from drqfaiss._indexes.arrays import Codes, Floats, Ids, Nearest, Parameters, Probes, Query, Ranges


class ListArraySearch(ArraySearch):
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
        train_quantizer(index, _residuals(index, x, _assigned(index, x)))

    def sa_encode(self, index: faiss.Index, x: Floats, codes: Codes) -> None:
        keys = _assigned(index, x)
        width = index.coarse_code_size()
        for byte in range(width):
            codes[:, byte] = keys >> (8 * byte) & 255
        packed = np.empty((len(x), index.code_size), np.uint8)
        encode(index, _residuals(index, x, keys), packed)
        codes[:, width:] = packed

    def search(self, index: faiss.Index, query: Query, nearest: Nearest) -> None:
        self.search_preassigned(index, query, _probed(index, query.x, query.params), nearest)

    def search_preassigned(self, index: faiss.Index, query: Query, probes: Probes, nearest: Nearest) -> None:
        _write_nearest(index, _candidates(index, query, probes), nearest)

    def search_and_reconstruct(
        self, index: faiss.Index, query: Query, nearest: Nearest, vectors: Floats
    ) -> None:
        probes = _probed(index, query.x, query.params)
        numbers, rows = _write_nearest(index, _candidates(index, query, probes), nearest)
        vectors[numbers < 0] = np.nan
        for number in np.unique(numbers[numbers >= 0]).tolist():
            here = numbers == number
            with _list(index, number) as (codes, _):
                found = index.rq.decode(codes[rows[here]])
            vectors[here] = found + _centroid(index, number) if index.by_residual else found

    def range_search(self, index: faiss.Index, x: Floats, radius: float, params: Parameters) -> Ranges:
        probes = _probed(index, x, params)
        found = _in_range(index, Query(x, 0, params), probes, radius)
        order = np.lexsort((found.ids, found.owners))
        counts = np.bincount(found.owners, minlength=len(x))
        lims = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
        return lims, found.distances[order], found.ids[order]


class _Candidates(NamedTuple):
    """What lists hold that may be a result, each array of the same length."""

    owners: Ids  # The query that each is for.
    probes: Ids  # How many lists that query looks into before the one it is in.
    distances: Floats
    ids: Ids
    numbers: Ids  # The list that each is in.
    rows: Ids  # Where its code is in this list.

    def taken(self, which: Ids) -> _Candidates:
        """Return those with these numbers, in this order."""
        return _Candidates._make(array[which] for array in self)


def _joined(parts: list[_Candidates]) -> _Candidates:
    none = np.empty(0, np.int64)
    parts = [_Candidates(none, none, np.empty(0, np.float32), none, none, none), *parts]
    return _Candidates(*map(np.concatenate, zip(*parts, strict=True)))


def _candidates(index: faiss.Index, query: Query, probes: Probes) -> _Candidates:
    """Return what may be among the k nearest: of each list, or of the shortlist, ranked by more levels."""
    depth = depth_of(index, query.params)
    if not depth.refine_factor:
        return _nearest_by_list(index, query, probes, depth.levels)
    wide = query._replace(k=query.k * depth.refine_factor)
    found = _nearest_by_list(index, wide, probes, depth.levels)
    shortlist = _first(index, found, wide.k)[0]
    return _ranked(index, query, probes, shortlist, depth.refine_levels or index.rq.M)


def _nearest_by_list(index: faiss.Index, query: Query, probes: Probes, levels: int) -> _Candidates:
    """Return the k nearest of each list, for the queries that look into it."""
    quantizer, l2 = quantizer_of(index), is_l2(index)
    core, found = state_of(index).core, []
    for scan in _scans(index, query, probes, _max_codes(index, query.params)):
        k = min(query.k, len(scan.codes))
        near, rows = core.search(*quantizer, scan.codes, scan.entered, k, levels, l2, scan.mask)
        near += _centroid_products(index, probes, scan.queries, scan.probes)[:, None]
        asked, place = np.nonzero(rows >= 0)
        places = scan.probes[asked]
        found.append(scan.candidates(scan.queries[asked], places, near[asked, place], rows[asked, place]))
    return _joined(found)


def _ranked(index: faiss.Index, query: Query, probes: Probes, found: _Candidates, levels: int) -> _Candidates:
    """Return candidates with their distances by other levels, those that have one."""
    quantizer, l2, core = quantizer_of(index), is_l2(index), state_of(index).core
    distances = np.full(len(found.ids), np.nan, np.float32)
    for number in np.unique(found.numbers).tolist():
        here = np.flatnonzero(found.numbers == number)
        queries, owners = np.unique(found.owners[here], return_inverse=True)
        rows, places = np.unique(found.rows[here], return_inverse=True)
        with _list(index, number) as (codes, _):
            entered = _entered(index, query.x[queries], number)
            near, order = core.search(*quantizer, codes[rows], entered, len(rows), levels, l2)
        by_place = np.full(near.shape, np.nan, np.float32)
        asked, rank = np.nonzero(order >= 0)
        by_place[asked, order[asked, rank]] = near[asked, rank]
        products = _centroid_products(index, probes, found.owners[here], found.probes[here])
        distances[here] = by_place[owners, places] + products
    return found._replace(distances=distances).taken(np.flatnonzero(~np.isnan(distances)))


def _centroid_products(index: faiss.Index, probes: Probes, queries: Ids, places: Ids) -> Floats:
    """Return what the centroids of probes add to the products within their lists."""
    if is_l2(index) or not index.by_residual:
        return np.zeros(len(queries), np.float32)
    return probes.distances[queries, places]


def _in_range(index: faiss.Index, query: Query, probes: Probes, radius: float) -> _Candidates:
    """Return all within a radius. FAISS's range searches do not stop at max_codes, and neither does this."""
    levels, quantizer, l2 = levels_of(index, query.params), quantizer_of(index), is_l2(index)
    core, found = state_of(index).core, []
    for scan in _scans(index, query, probes, max_codes=0):
        for group, offset in _offsets(index, scan, probes.distances):
            lims, near, rows = core.range_search(
                *quantizer, scan.codes, scan.entered[group], radius - offset, levels, l2, scan.mask
            )
            owners, places = (
                np.repeat(of[group], np.diff(lims).astype(int)) for of in (scan.queries, scan.probes)
            )
            found.append(scan.candidates(owners, places, near + np.float32(offset), rows))
    return _joined(found)


def _write_nearest(index: faiss.Index, found: _Candidates, nearest: Nearest) -> tuple[Ids, Ids]:
    """Write the k nearest of the candidates; return their list numbers and rows, (n, k), −1 where none is."""
    first, ranks = _first(index, found, nearest.ids.shape[1])
    to = first.owners, ranks
    nearest.distances[:], nearest.ids[:] = (1 if is_l2(index) else -1) * np.finfo(np.float32).max, -1
    nearest.distances[to], nearest.ids[to] = first.distances, first.ids
    numbers, rows = np.full((2, *nearest.ids.shape), -1)
    numbers[to], rows[to] = first.numbers, first.rows
    return numbers, rows


def _first(index: faiss.Index, found: _Candidates, k: int) -> tuple[_Candidates, Ids]:
    """Return the k nearest candidates of each query in order, and their ranks."""
    sign = 1 if is_l2(index) else -1
    order = np.lexsort((found.ids, sign * found.distances, found.owners))
    owners = found.owners[order]
    ranks = np.arange(len(order)) - np.searchsorted(owners, owners)
    kept = ranks < k
    return found.taken(order[kept]), ranks[kept]


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


def _probed(index: faiss.Index, x: Floats, params: Parameters) -> Probes:
    """Return the lists to look into, the nearest first."""
    nprobe = min(index.nprobe if params is None else params.nprobe, index.nlist)
    keys, distances = np.empty((len(x), nprobe), np.int64), np.empty((len(x), nprobe), np.float32)
    coarse_params = None if params is None else params.quantizer_params
    arrays = faiss.swig_ptr(distances), faiss.swig_ptr(keys)
    index.quantizer.search_c(len(x), faiss.swig_ptr(x), nprobe, *arrays, coarse_params)
    return Probes(keys, distances)


def _max_codes(index: faiss.Index, params: Parameters) -> int:
    return int(index.max_codes if params is None else params.max_codes)


@dataclass(frozen=True)
class _Scan:
    """The first codes of a list, for the queries that look into them, while the list is read."""

    number: int  # The number of the list.
    codes: Codes
    ids: Ids
    queries: Ids
    probes: Ids  # How many lists each query looks into before this one.
    entered: Floats  # The queries as they are compared with these codes.
    mask: NDArray[np.bool_] | None  # Which codes may be found; None for all.

    def candidates(self, owners: Ids, probes: Ids, distances: Floats, rows: Ids) -> _Candidates:
        """Return rows of this list, found for queries, as candidates."""
        return _Candidates(owners, probes, distances, self.ids[rows], np.full(len(rows), self.number), rows)


def _scans(index: faiss.Index, query: Query, probes: Probes, max_codes: int) -> Iterator[_Scan]:
    """Yield what is searched at once: the same codes, for queries that look at the same."""
    sizes = _sizes(index, probes.keys, max_codes)
    queries, places = np.nonzero(sizes > 0)
    wanted = np.stack([probes.keys[queries, places], sizes[queries, places]])
    for number, n in np.unique(wanted, axis=1).T.tolist():
        here = (wanted[0] == number) & (wanted[1] == n)
        entered = _entered(index, query.x[queries[here]], number)
        with _list(index, number) as (codes, stored_ids):
            ids = stored_ids[:n].copy()
            mask = mask_of(query.params, ids)
            yield _Scan(number, codes[:n], ids, queries[here], places[here], entered, mask)


def _sizes(index: faiss.Index, keys: Ids, max_codes: int) -> Ids:
    """Return how many codes each query looks at in each of its lists, (n, nprobe)."""
    sizes = np.zeros(keys.shape, np.int64)
    for number in np.unique(keys[keys >= 0]).tolist():
        sizes[keys == number] = index.invlists.list_size(number)
    if max_codes:
        before = np.cumsum(sizes, axis=1) - sizes
        sizes = np.clip(max_codes - before, 0, sizes)
    return sizes


def _offsets(index: faiss.Index, scan: _Scan, distances: Floats) -> Iterator[tuple[slice, float]]:
    """Yield groups of a scan's queries, and what their centroid adds to the products within the list."""
    if is_l2(index) or not index.by_residual:
        yield slice(None), 0.0
        return
    for i, (query, probe) in enumerate(zip(scan.queries, scan.probes, strict=True)):
        yield slice(i, i + 1), float(distances[query, probe])


def _entered(index: faiss.Index, x: Floats, number: int) -> Floats:
    """Return queries as they are compared with the codes of a list."""
    if is_l2(index) and index.by_residual:
        return _residuals(index, x, np.full(len(x), number))
    return x


@contextmanager
def _list(index: faiss.Index, number: int) -> Iterator[tuple[Codes, Ids]]:
    """Give codes and ids of an inverted list, FAISS's own, while they are being read."""
    lists = index.invlists
    n = lists.list_size(number)
    codes, ids = lists.get_codes(number), lists.get_ids(number)
    try:
        width = index.code_size
        yield faiss.rev_swig_ptr(codes, n * width).reshape(n, width), faiss.rev_swig_ptr(ids, n)
    finally:
        lists.release_codes(number, codes)
        lists.release_ids(number, ids)
