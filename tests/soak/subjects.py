"""Indexes under soak, and what NumPy knows about their content."""

from __future__ import annotations

from dataclasses import dataclass, replace

import faiss
import numpy as np
from numpy.testing import assert_allclose  # now: children forked during an import wait for it

import drqfaiss
from drqfaiss import IndexDRQ, IndexIVFDRQ, Quantizer, SearchParametersDRQ, SearchParametersIVFDRQ
from drqfaiss.quantizer import Group
from tests import reference

D, M, NBITS, NLIST = 12, 6, 6, 7
LARGEST = 60.0  # squares of the numbers that distances are made of, about


def distances(x: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """Return distances in float64, (queries, n), without BLAS.

    OpenBLAS ends its threads around a fork, also those that work for another thread, which waits for ever.
    """
    if metric == "l2":
        return reference.distances(x, vectors, metric)
    return np.einsum("ij,kj->ik", x.astype(np.float64), vectors)


@dataclass(frozen=True)
class Content:
    """What an index holds, in the order it is stored in. Never changes: writers put another in its place.

    Attributes:
        ids: (n) distinct.
        codes: (n, M) choices of all levels.
        lists: (n) inverted lists; zeros where there are none.
    """

    ids: np.ndarray
    codes: np.ndarray
    lists: np.ndarray

    @classmethod
    def empty(cls) -> Content:
        return cls(np.empty(0, np.int64), np.empty((0, M), np.int64), np.empty(0, np.int64))

    def with_more(self, ids: np.ndarray, codes: np.ndarray, lists: np.ndarray) -> Content:
        parts = zip((self.ids, self.codes, self.lists), (ids, codes, lists), strict=True)
        return Content(*(np.concatenate(part) for part in parts))

    def without(self, ids: np.ndarray) -> Content:
        stays = ~np.isin(self.ids, ids)
        return Content(self.ids[stays], self.codes[stays], self.lists[stays])

    def numbered(self) -> Content:
        """Return the same with ids that are places."""
        return replace(self, ids=np.arange(len(self.ids)))


class Subject:
    """An index of one kind and its content.

    Attributes:
        index: the FAISS index under test, which operations may replace.
        content: what it has to hold.
        has_ids: whether ids are given when vectors are added; otherwise they are places.
    """

    name = "flat"
    has_ids = False

    def __init__(self, seed: int, metric: str = "l2") -> None:
        rng = np.random.default_rng(seed)
        self.metric = metric
        self.codebooks = self.made(rng)
        self.content = Content.empty()
        self.encoder = self.quantized()  # never searched or changed: tells the codes of what is added
        self.index = self.wrapped(self.quantized())

    @property
    def metric_type(self) -> int:
        return {"l2": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT}[self.metric]

    # What a kind of index does in its own way.

    def made(self, rng: np.random.Generator) -> np.ndarray:
        """Return codebooks (M, K, D) of the size that residuals have."""
        base = rng.normal(size=(1 << NBITS, D))
        codebooks = np.array([0.7**m * base for m in range(M)], np.float32)
        codebooks[0] += 0.25
        return codebooks

    def quantized(self) -> faiss.Index:
        """Return an empty index with the codebooks."""
        return IndexDRQ.from_codebooks(self.codebooks, self.metric_type)

    def wrapped(self, index: faiss.Index) -> faiss.Index:
        return index

    def inner(self) -> faiss.Index:
        """Return the quantizing index itself."""
        return self.index

    def turned(self, x: np.ndarray) -> np.ndarray:
        """Return vectors as the quantizing index sees them."""
        return x

    def parameters(self, levels: int, nprobe: int) -> faiss.SearchParameters:
        return SearchParametersDRQ(levels)

    def choices(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return levels (n, M) and lists (n) of stored codes (n, bytes)."""
        bits = np.unpackbits(rows, axis=1, bitorder="little")[:, : M * NBITS].reshape(len(rows), M, NBITS)
        return (bits.astype(np.int64) << np.arange(NBITS)).sum(2), np.zeros(len(rows), np.int64)

    def probed(self, x: np.ndarray, content: Content, nprobe: int) -> np.ndarray:
        """Return which vectors each query looks at, (queries, n)."""
        return np.ones((len(x), len(content.ids)), bool)

    def offsets(self, content: Content) -> np.ndarray | float:
        """Return what the codes are left over from, (n, d)."""
        return 0.0

    # What all have in common.

    def added(self, x: np.ndarray, ids: np.ndarray) -> Content:
        """Return the content after vectors are added."""
        codes, lists = self.choices(self.encoder.sa_encode(self.turned(x)))
        content = self.content.with_more(ids, codes, lists)
        return content if self.has_ids else content.numbered()

    def removed(self, ids: np.ndarray) -> Content:
        content = self.content.without(ids)
        return content if self.has_ids else content.numbered()

    def distances(self, x: np.ndarray, content: Content, levels: int) -> np.ndarray:
        """Return distances of queries and vectors in float64, (queries, n)."""
        vectors = reference.decode(self.codebooks, content.codes, levels) + self.offsets(content)
        return distances(self.turned(x), vectors, self.metric)

    def check_search(self, x, content, levels, nprobe, k, found) -> None:
        """Require the k nearest of what the queries look at."""
        D, ids = found
        keys = self.distances(x, content, levels) * (1 if self.metric == "l2" else -1)
        keys[~self.probed(x, content, nprobe)] = np.inf
        expected = np.sort(keys, 1)[:, :k]
        for row in range(len(x)):
            count = int(np.isfinite(expected[row]).sum())
            assert (ids[row, count:] == -1).all() and (ids[row, :count] >= 0).all(), (ids[row], count)
            assert len(set(ids[row, :count].tolist())) == count, ids[row]
            own = keys[row, self.places(content, ids[row, :count])]
            mine = D[row, :count] * (1 if self.metric == "l2" else -1)
            assert_allclose(mine, own, rtol=1e-4, atol=4e-6 * LARGEST)
            assert_allclose(mine, expected[row, :count], rtol=1e-4, atol=4e-6 * LARGEST)

    def check_range(self, x, content, levels, nprobe, radius, found) -> None:
        """Require all that are nearer than the radius, but for those that are about as far."""
        limits, D, ids = found
        distances = self.distances(x, content, levels)
        probed = self.probed(x, content, nprobe)
        for row in range(len(x)):
            mine = ids[limits[row] : limits[row + 1]]
            assert len(set(mine.tolist())) == len(mine), mine
            own = distances[row, self.places(content, mine)]
            assert_allclose(D[limits[row] : limits[row + 1]], own, rtol=1e-4, atol=4e-6 * LARGEST)
            inside = distances[row] < radius if self.metric == "l2" else distances[row] > radius
            unsure = np.abs(distances[row] - radius) <= 4e-6 * LARGEST + 1e-4 * abs(radius)
            missing = np.setdiff1d(content.ids[inside & probed[row] & ~unsure], mine)
            assert missing.size == 0, missing

    @staticmethod
    def places(content: Content, ids: np.ndarray) -> np.ndarray:
        order = np.argsort(content.ids, kind="stable")
        places = order[np.minimum(np.searchsorted(content.ids[order], ids), max(len(order) - 1, 0))]
        assert (content.ids[places] == ids).all(), "an id that is not in the index"
        return places


class IVFSubject(Subject):
    """Inverted lists, with ids of the caller's."""

    name = "IVF"
    has_ids = True

    def __init__(self, seed: int, metric: str = "l2") -> None:
        self.centroids = 2 * np.random.default_rng(seed + 1).normal(size=(NLIST, D)).astype(np.float32)
        super().__init__(seed, metric)

    def quantized(self) -> faiss.Index:
        coarse = faiss.IndexFlat(D, self.metric_type)
        coarse.add(self.centroids)
        return IndexIVFDRQ.from_codebooks(coarse, self.codebooks, self.metric_type)

    def parameters(self, levels, nprobe):
        return SearchParametersIVFDRQ(levels, nprobe=nprobe)

    def choices(self, rows):
        levels, _ = super().choices(rows[:, 1:])
        return levels, rows[:, 0].astype(np.int64)

    def probed(self, x, content, nprobe):
        to_centroids = distances(x, self.centroids.astype(np.float64), self.metric)
        nearest = np.argsort(to_centroids * (1 if self.metric == "l2" else -1), axis=1)[:, :nprobe]
        return (nearest[:, :, None] == content.lists).any(1)

    def offsets(self, content):
        return self.centroids[content.lists].astype(np.float64)


class IDMapSubject(Subject):
    """A flat index whose vectors have ids of the caller's."""

    name = "IDMap"
    has_ids = True

    def wrapped(self, index):
        return faiss.IndexIDMap2(index)

    def inner(self):
        return drqfaiss.adopt(faiss.downcast_index(self.index.index))


class PreTransformSubject(Subject):
    """A flat index behind a rotation."""

    name = "PreTransform"

    def __init__(self, seed: int, metric: str = "l2") -> None:
        self.rotation = faiss.RandomRotationMatrix(D, D)
        self.rotation.init(seed)
        super().__init__(seed, metric)

    def wrapped(self, index):
        return faiss.IndexPreTransform(self.rotation, index)

    def inner(self):
        return drqfaiss.adopt(faiss.downcast_index(self.index.index))

    def turned(self, x):
        return self.rotation.apply(x)


class BlocksSubject(Subject):
    """A flat index whose levels after the first two live on blocks, three dimensions each."""

    name = "blocks"

    def made(self, rng):
        sizes, level_groups = {0: D, 1: 3, 5: 3}, np.array([0, 0, 1, 2, 1, 2])
        groups = [
            Group(rng.normal(size=(1 << NBITS, size)).astype(np.float32), start)
            for start, size in sizes.items()
        ]
        rotation = np.linalg.qr(rng.normal(size=(D, D)))[0]
        self.quantizer = Quantizer.from_groups(
            groups, level_groups, 0.7 ** np.arange(M), np.full(D, 0.25), rotation
        )
        return self.quantizer.codebooks()

    def quantized(self):
        return self.quantizer.to_index(self.metric_type)


KINDS = (Subject, IVFSubject, IDMapSubject, PreTransformSubject, BlocksSubject)
