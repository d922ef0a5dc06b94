"""The codes that are compared, at so many bytes a vector or at their own length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

import drqfaiss
from benchmarks.common import methods as common

# Searches of queries for k neighbours; ids, (queries, k).
Search = Callable[[np.ndarray, int], np.ndarray]
WIDE = 1024  # dimensions from which OPQ also reduces them
WIDE_OPQ = 640
PRQ_LEVELS = 4  # of a block
OWN_LEVELS = 16  # of a DRQ index that takes longer: first levels, each with a codebook of its own
SLOW = ("opq", "rq", "prq", "lsq")  # trained for minutes each
# What stored unit vectors are divided by, where distances rank: near the best at most lengths.
SUMS_SHRUNK, PRODUCTS_SHRUNK = 1.75, 1.25


@dataclass(frozen=True)
class Method:
    """An index of codes, and which searches of it are measured.

    Attributes:
        name: what tables call it.
        code_bytes: of a vector; 0: what the index says.
        make: () -> untrained index.
        lengths: levels compared by the searches of a DRQ index; none: it is not ours.
        two_stage: first levels that a search scans, and how many times k vectors it ranks by all.
        metrics: FAISS's numbers of what ranks, in turn; none: the index's own metric.
        shrink: what vectors that are stored are divided by.
        refined: how many times k candidates int8 copies of the vectors rank again, with bytes compared first.
    """

    name: str
    code_bytes: int
    make: Callable[[], faiss.Index]
    lengths: tuple[int, ...] = ()
    refined: tuple[tuple[int, int], ...] = ()
    two_stage: tuple[tuple[int, int], ...] = ()
    metrics: tuple[int, ...] = ()
    shrink: float = 1.0

    @property
    def label(self) -> str:
        """Unique name, also of a file."""
        return f"{self.name} {self.code_bytes}".replace(" ", "-").replace(",", "")


def choose(
    names: list[str],
    d: int,
    metric: int,
    lengths: list[int],
    slow: list[int],
    levels: int,
    seed: int,
    unit: bool = False,
) -> list[Method]:
    """Return the methods of these names at every length.

    Args:
        names: some of `known`.
        d: dimensions.
        metric: FAISS's number.
        lengths: bytes of codes.
        slow: the same for methods that take minutes to train.
        levels: of the one DRQ index.
        seed: of DRQ's training.
        unit: all vectors have length 1, so that distances and inner products have the same neighbours. Codes
            of products are ranked by distances then, which is better for them and as cheap; sums of
            codewords need norms for that and are ranked by both.

    Raises:
        ValueError: an unknown name.
    """
    known = _known(d, metric, levels, seed, unit)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"methods: got {unknown}, expected some of {list(known)}")
    return [method for name in names for method in known[name](slow if name in SLOW else lengths)]


def _known(
    d: int, metric: int, levels: int, seed: int, unit: bool
) -> dict[str, Callable[[list[int]], Iterator[Method]]]:
    coded = faiss.METRIC_L2 if unit else metric
    # By how sums of codewords are ranked, and what is stored.
    sums = {"metrics": (metric, faiss.METRIC_L2), "shrink": SUMS_SHRUNK} if unit else {}
    products = {"shrink": PRODUCTS_SHRUNK} if unit else {}

    def each(
        name: str, make: common.MakeIndex, refined: tuple[int, ...] = (), **ranked: Any
    ) -> Callable[[list[int]], Iterator[Method]]:
        def at(lengths: list[int]) -> Iterator[Method]:
            for m in lengths:
                if 2 * m <= d:
                    again = ((4, m),) * (m in refined)
                    yield Method(name, m, lambda m=m: make(d, m, coded), refined=again, **ranked)

        return at

    def drq(lengths: list[int]) -> Iterator[Method]:
        compared = tuple(m for m in lengths if m <= levels)
        refined = tuple((4, m) for m in compared if m in (16, 32, 48))
        yield Method(
            "DRQ",
            levels,
            lambda: drqfaiss.IndexDRQ(d, levels, metric=coded, seed=seed),
            compared or (levels,),
            refined,
            tuple((first, factor) for first in (levels // 6, levels // 4) for factor in (10, 20)),
            **sums,
        )

    def drq_own(lengths: list[int]) -> Iterator[Method]:
        options = {"layout": "blocks", "global_levels": OWN_LEVELS, "own_levels": OWN_LEVELS, "seed": seed}
        compared = tuple(m for m in lengths if m <= levels)
        yield Method(
            f"DRQ, {OWN_LEVELS} own levels",
            levels,
            lambda: drqfaiss.IndexDRQ(d, levels, metric=coded, **options),
            compared or (levels,),
            **sums,
        )

    def flat(lengths: list[int]) -> Iterator[Method]:
        yield _by_factory("float vectors", d, "Flat", metric)

    def rabitq(lengths: list[int]) -> Iterator[Method]:
        for kind, title in (("RaBitQ", "RaBitQ"), ("RaBitQfs", "RaBitQ fast-scan")):
            for bits in (1, 2, 4):
                refined = ((4, 0),) if bits == 1 else ()
                yield _by_factory(f"{title}, {bits} bit", d, f"RR{d},{kind}{bits}", metric, refined)

    def scalar(lengths: list[int]) -> Iterator[Method]:
        yield _by_factory("SQ4", d, "SQ4", metric)
        yield _by_factory("SQ8", d, "SQ8", metric)

    def pca(lengths: list[int]) -> Iterator[Method]:
        # They centre vectors, so that inner products change; distances stay, and rank unit vectors alike.
        for kept in (d // 4, d // 2):
            yield _by_factory(f"PCA{kept}, SQ4", d, f"PCA{kept},SQ4", faiss.METRIC_L2)
        yield _by_factory(f"PCA{d // 2}, RaBitQ, 2 bit", d, f"PCAR{d // 2},RaBitQ2", faiss.METRIC_L2)

    def sign(lengths: list[int]) -> Iterator[Method]:
        yield Method("sign bits", 0, lambda: sign_bits(d, metric), refined=((4, 0), (10, 0)))

    def usearch(lengths: list[int]) -> Iterator[Method]:
        yield Method("sign bits, usearch", 0, lambda: SignBits(d))

    return {
        "drq": drq,
        "drq16": drq_own,
        "flat": flat,
        "pq": each("PQ", common.pq, **products),
        "opq": each("OPQ", opq, **products),
        "pqfs": each("PQ fast-scan", common.pq_fast_scan, (32, 48), **products),
        "rq": each("RQ", common.rq(5), **sums),
        "prq": each("PRQ", prq, **sums),
        "lsq": each("LSQ", common.lsq, **sums),
        "rabitq": rabitq,
        "sq": scalar,
        "pca": pca,
        "sign": sign,
        "usearch": usearch,
    }


def _by_factory(
    name: str, d: int, text: str, metric: int, refined: tuple[tuple[int, int], ...] = ()
) -> Method:
    return Method(name, 0, lambda: faiss.index_factory(d, text, metric), refined=refined)


def opq(d: int, m: int, metric: int) -> faiss.Index:
    """Product quantizer behind a learned rotation, to fewer dimensions where there are many."""
    if d < WIDE:
        return common.opq(d, m, metric)
    kept = -(-WIDE_OPQ // m) * m
    return faiss.IndexPreTransform(faiss.OPQMatrix(d, m, kept), faiss.IndexPQ(kept, m, 8, metric))


def prq(d: int, m: int, metric: int) -> faiss.Index:
    """Product residual quantizer: blocks of equal size and four levels, each with a codebook of its own."""
    blocks = max(2, m // PRQ_LEVELS)

    def make(wide: int) -> faiss.Index:
        return faiss.IndexProductResidualQuantizer(
            wide, blocks, m // blocks, 8, metric, common.search_type(metric)
        )

    return common.padded(d, blocks, make)


def sign_bits(d: int, metric: int) -> faiss.Index:
    """One bit a dimension, whether it is above the median, compared by Hamming distance."""
    index = faiss.IndexLSH(d, d, False, True)
    index.metric_type = metric  # what refines it must have the same
    return index


class SignBits:
    """The same with usearch's exact search, candidates ranked again with int8 copies by NumPy.

    Args:
        d: dimensions.
        oversampled: times k candidates.
    """

    is_trained = False

    def __init__(self, d: int, oversampled: int = 4) -> None:
        self.d, self.oversampled = d, oversampled

    def train(self, x: np.ndarray) -> None:
        """Find medians and the range of int8."""
        self.medians = np.median(x, axis=0)
        self.step = np.abs(x).max() / 127

    def add(self, x: np.ndarray) -> None:
        """Keep bits and int8 copies."""
        self.bits = self._bits(x)
        self.copies = np.clip(np.round(x / self.step), -127, 127).astype(np.int8)

    def sa_code_size(self) -> int:
        """Bytes of a vector."""
        return self.bits.shape[1] + self.d

    def search(self, queries: np.ndarray, k: int) -> tuple[None, np.ndarray]:
        """Return no distances, and ids (queries, k) of the largest inner products."""
        from usearch.index import MetricKind, search

        bits = self._bits(queries)
        found = search(self.bits, bits, self.oversampled * k, MetricKind.Hamming, exact=True, threads=1)
        candidates = found.keys.reshape(len(queries), -1).astype(np.int64)
        scores = np.einsum("qcd,qd->qc", self.copies[candidates].astype(np.float32), queries)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return None, np.take_along_axis(candidates, best, axis=1)

    def _bits(self, x: np.ndarray) -> np.ndarray:
        return np.packbits(x > self.medians, axis=1)
