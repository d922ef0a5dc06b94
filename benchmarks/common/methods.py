"""The quantizers that are compared: how each makes an untrained index of so many bytes per vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import faiss

import drqfaiss
from drqfaiss._least_squares.options import QUALITIES, SCALES

MakeIndex = Callable[[int, int, int], faiss.Index]
FLOAT_NORM_BYTES = 4
RABITQ_FACTOR_BYTES = 8
# Prefix weights α_L by their name in a variant of DRQ; "short" is for the codes of 2 levels.
WEIGHTS: dict[str, Callable[[int], float]] = {
    "even": lambda L: 1,
    "rising": lambda L: L,
    "short": lambda L: 4 if L == 2 else 1,
}
WIDE_LEVELS = {f"{bits}bit": bits for bits in range(9, 13)}
# The words of a variant, for those who name one.
VARIANTS = (
    f"words joined by +, as in level+own+best: a scale ({', '.join(SCALES)}), own (first codebook), "
    f"a quality ({', '.join(QUALITIES)}), prefix weights ({', '.join(WEIGHTS)}), "
    f"bits of a level other than 8 ({', '.join(WIDE_LEVELS)})"
)


@dataclass(frozen=True)
class Method:
    """A row of the table for every code length.

    Attributes:
        name: what the table calls it.
        make: (d, bytes per vector, metric) -> untrained index.
        parameters: (d, bytes per vector) -> floats that training learns, means left out.
        fits: (d, bytes per vector) -> whether there is such a code.
        levels: the index is ours, of so many levels, one training serves every shorter length; 0: FAISS's.
        level_bits: of each of these levels.
    """

    name: str
    make: MakeIndex
    parameters: Callable[[int, int], int]
    fits: Callable[[int, int], bool] = lambda d, m: True
    levels: int = 0
    level_bits: int = 8

    @property
    def own(self) -> bool:
        """Whether the index is ours: it picks its SIMD level itself."""
        return self.levels > 0

    def levels_in(self, m: int) -> int:
        """Levels that fit into m bytes."""
        return 8 * m // self.level_bits


def drq(variant: str, longest: int, seed: int) -> Method:
    """IndexDRQ with as many levels as fit into `longest` bytes; the shorter codes are prefixes of its code.

    All levels share a codebook, but for an own first one: what others than that give, `embeddings` measures.

    Args:
        variant: words joined by "+": a scale, a quality, "own" for an own first codebook, one of WEIGHTS for
            prefix weights, "9bit" to "12bit" for levels of more than 8 bits; as in "vector+own+best".
        longest: bytes of the longest code.
        seed: of its training.

    Raises:
        ValueError: an unknown word.
    """
    words = variant.split("+")
    bits = next((WIDE_LEVELS[word] for word in words if word in WIDE_LEVELS), 8)
    levels, K = 8 * longest // bits, 2**bits
    options = {"seed": seed, "layout": "shared"}
    for word in words:
        options |= _drq_option(word, levels)

    def make(d: int, m: int, metric: int) -> faiss.Index:
        return drqfaiss.IndexDRQ(d, levels, bits, metric, **options)

    def parameters(d: int, m: int) -> int:
        scales = d * d + levels * d if options.get("scale") == "vector" else levels
        return K * d * (2 if "own_first" in options else 1) + scales

    def fits(d: int, m: int) -> bool:
        return bits <= 8 * m and m <= longest

    return Method(f"DRQ {variant.replace('+', ' ')}", make, parameters, fits, levels, bits)


def _drq_option(word: str, levels: int) -> dict[str, object]:
    if word in SCALES:
        return {"scale": word}
    if word in QUALITIES:
        return {"quality": word}
    if word == "own":
        return {"own_first": True}
    if word in WIDE_LEVELS:
        return {}
    if word in WEIGHTS:
        return {"prefix_weights": {L: float(WEIGHTS[word](L)) for L in range(1, levels + 1)}}
    raise ValueError(f"DRQ {word!r}; expected one of {['own', *SCALES, *QUALITIES, *WEIGHTS, *WIDE_LEVELS]}")


def pq(d: int, m: int, metric: int, bits: int = 8) -> faiss.Index:
    """Product quantizer of m subspaces; without the polysemous training index_factory adds."""
    return padded(d, m, lambda wide: faiss.IndexPQ(wide, m, bits, metric))


def pq_fast_scan(d: int, m: int, metric: int) -> faiss.Index:
    """FAISS's fastest scan at the same bytes: twice the subspaces, 4 bits each."""
    return padded(d, 2 * m, lambda wide: faiss.IndexPQFastScan(wide, 2 * m, 4, metric))


def opq(d: int, m: int, metric: int, bits: int = 8) -> faiss.Index:
    """Product quantizer behind a learned rotation, FAISS's defaults."""
    wide = _round_up(d, m)
    return faiss.IndexPreTransform(faiss.OPQMatrix(d, m, wide), faiss.IndexPQ(wide, m, bits, metric))


def rq(beam: int) -> MakeIndex:
    """Residual quantizer with stored float32 norms: the stock search type with the memory ours needs."""

    def make(d: int, m: int, metric: int, bits: int = 8) -> faiss.Index:
        index = faiss.IndexResidualQuantizer(d, m, bits, metric, search_type(metric))
        index.rq.max_beam_size = beam
        return index

    return make


def wide_rq(bits: int) -> Method:
    """RQ, beam 5, whose levels have more than 8 bits: as many as fit."""

    def make(d: int, m: int, metric: int) -> faiss.Index:
        return rq(5)(d, 8 * m // bits, metric, bits)

    def parameters(d: int, m: int) -> int:
        return _additive_parameters(d, 8 * m // bits, bits)

    return Method(f"RQ {bits}bit", make, parameters, lambda d, m: bits <= 8 * m)


def lsq(d: int, m: int, metric: int, bits: int = 8) -> faiss.Index:
    """Local search quantizer, norms stored as in ``rq``."""
    return faiss.IndexLocalSearchQuantizer(d, m, bits, metric, search_type(metric))


def itq(d: int, m: int, metric: int, bits: int = 8) -> faiss.Index:
    """Rotate principal directions to fit bits (ITQ), a bit each, compared by Hamming distance."""
    lsh = faiss.IndexLSH(bits * m, bits * m, False, False)
    return faiss.IndexPreTransform(faiss.ITQTransform(d, bits * m, True), lsh)


def rabitq(d: int, m: int, metric: int) -> faiss.Index:
    """RaBitQ, whose factors take 8 bytes: the bits that are left, one per randomly rotated PCA dimension."""
    kept = _rabitq_dimensions(m)
    return faiss.IndexPreTransform(faiss.PCAMatrix(d, kept, 0, True), faiss.IndexRaBitQ(kept, metric))


def choose(names: list[str], variants: list[str], longest: list[int], seed: int) -> list[Method]:
    """Look methods up by name; "drq" gives one method per variant and bytes of its longest code.

    Raises:
        ValueError: an unknown name or variant.
    """
    known = {
        "drq": [drq(variant, most, seed) for most in longest for variant in variants],
        "pq": [Method("PQ", pq, lambda d, m: 256 * d)],
        "pqfs": [Method("PQ fast-scan", pq_fast_scan, lambda d, m: 16 * d)],
        "opq": [Method("OPQ", opq, lambda d, m: 256 * _round_up(d, m) + d * _round_up(d, m))],
        "rq": [Method("RQ", rq(5), _additive_parameters)],
        "rq9": [wide_rq(9)],
        "rq10": [wide_rq(10)],
        "rq16": [Method("RQ beam 16", rq(16), _additive_parameters)],
        "lsq": [Method("LSQ", lsq, _additive_parameters)],
        "itq": [Method("ITQ", itq, lambda d, m: 8 * m * d, lambda d, m: 8 * m <= d)],
        "rabitq": [Method("RaBitQ", rabitq, lambda d, m: _rabitq_dimensions(m) * d, _rabitq_fits)],
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
    quantizer = getattr(index, "rq", None) or getattr(index, "lsq", None) or getattr(index, "prq", None)
    return quantizer.norm_bits // 8 if quantizer else 0


def search_type(metric: int) -> int:
    l2 = metric == faiss.METRIC_L2
    return faiss.AdditiveQuantizer.ST_norm_float if l2 else faiss.AdditiveQuantizer.ST_LUT_nonorm


def _additive_parameters(d: int, m: int, bits: int = 8) -> int:
    return m * 2**bits * d


def _rabitq_dimensions(m: int) -> int:
    return 8 * (m - RABITQ_FACTOR_BYTES)


def _rabitq_fits(d: int, m: int) -> bool:
    return 0 < _rabitq_dimensions(m) <= d


def _round_up(d: int, blocks: int) -> int:
    return -(-d // blocks) * blocks


def padded(d: int, blocks: int, make: Callable[[int], faiss.Index]) -> faiss.Index:
    """Spread zero dimensions evenly where the subspaces do not divide d: no distance changes."""
    wide = _round_up(d, blocks)
    if wide == d:
        return make(d)
    return faiss.IndexPreTransform(faiss.RemapDimensionsTransform(d, wide, True), make(wide))
