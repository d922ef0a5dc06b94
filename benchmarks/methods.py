"""The quantizers that are compared: how each makes an untrained index of so many bytes per vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import faiss

import drqfaiss

MakeIndex = Callable[[int, int, int], faiss.Index]
FLOAT_NORM_BYTES = 4


@dataclass(frozen=True)
class Method:
    """A row of the table for every code length.

    Attributes:
        name: what the table calls it.
        make: (d, bytes per vector, metric) -> untrained index.
        own: the index is ours: it picks its SIMD level itself, one training serves every length.
    """

    name: str
    make: MakeIndex
    own: bool = False


def drq(scale: str, seed: int) -> Method:
    """IndexDRQ; the shorter codes are prefixes of the longest."""

    def make(d: int, levels: int, metric: int) -> faiss.Index:
        return drqfaiss.IndexDRQ(d, levels, 8, metric, scale=scale, seed=seed)

    return Method(f"DRQ {scale}", make, own=True)


def pq(d: int, m: int, metric: int) -> faiss.Index:
    """Product quantizer, 8 bits per subspace; without the polysemous training index_factory adds."""
    return _pad(d, m, lambda wide: faiss.IndexPQ(wide, m, 8, metric))


def pq_fast_scan(d: int, m: int, metric: int) -> faiss.Index:
    """FAISS's fastest scan at the same bytes: twice the subspaces, 4 bits each."""
    return _pad(d, 2 * m, lambda wide: faiss.IndexPQFastScan(wide, 2 * m, 4, metric))


def opq(d: int, m: int, metric: int) -> faiss.Index:
    """Product quantizer behind a learned rotation, FAISS's defaults."""
    wide = _round_up(d, m)
    return faiss.IndexPreTransform(faiss.OPQMatrix(d, m, wide), faiss.IndexPQ(wide, m, 8, metric))


def rq(beam: int) -> MakeIndex:
    """Residual quantizer with stored float32 norms: the stock search type with the memory ours needs."""

    def make(d: int, m: int, metric: int) -> faiss.Index:
        index = faiss.IndexResidualQuantizer(d, m, 8, metric, _search_type(metric))
        index.rq.max_beam_size = beam
        return index

    return make


def lsq(d: int, m: int, metric: int) -> faiss.Index:
    """Local search quantizer, norms stored as in ``rq``."""
    return faiss.IndexLocalSearchQuantizer(d, m, 8, metric, _search_type(metric))


def choose(names: list[str], scales: list[str], rq_beam: int, seed: int) -> list[Method]:
    """Look methods up by name; "drq" gives one method per scale.

    Raises:
        ValueError: an unknown name.
    """
    known = {
        "drq": [drq(scale, seed) for scale in scales],
        "pq": [Method("PQ", pq)],
        "pqfs": [Method("PQ fast-scan", pq_fast_scan)],
        "opq": [Method("OPQ", opq)],
        "rq": [Method("RQ", rq(rq_beam))],
        "lsq": [Method("LSQ", lsq)],
    }
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"methods {unknown}; expected some of {list(known)}")
    return [method for name in names for method in known[name]]


def code_bytes(index: faiss.Index) -> int:
    """Bytes of a vector's code, a stored norm not counted."""
    return index.sa_code_size() - _stored_norm_bytes(index)


def memory_bytes(method: Method, index: faiss.Index) -> int:
    """Bytes a search needs in memory per vector: the stored code and a norm, where the method has one."""
    caches_norms = method.own and index.metric_type == faiss.METRIC_L2
    return code_bytes(index) + max(_stored_norm_bytes(index), FLOAT_NORM_BYTES * caches_norms)


def _stored_norm_bytes(index: faiss.Index) -> int:
    quantizer = getattr(index, "rq", None) or getattr(index, "lsq", None)
    return quantizer.norm_bits // 8 if quantizer else 0


def _search_type(metric: int) -> int:
    l2 = metric == faiss.METRIC_L2
    return faiss.AdditiveQuantizer.ST_norm_float if l2 else faiss.AdditiveQuantizer.ST_LUT_nonorm


def _round_up(d: int, blocks: int) -> int:
    return -(-d // blocks) * blocks


def _pad(d: int, blocks: int, make: Callable[[int], faiss.Index]) -> faiss.Index:
    """Spread zero dimensions evenly where the subspaces do not divide d: no distance changes."""
    wide = _round_up(d, blocks)
    if wide == d:
        return make(d)
    return faiss.IndexPreTransform(faiss.RemapDimensionsTransform(d, wide, True), make(wide))
