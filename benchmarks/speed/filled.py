"""Indexes of any size, filled with trained codes of real vectors, ours and FAISS's."""

from __future__ import annotations

from functools import cache

import faiss
import numpy as np

import drqfaiss
from benchmarks.common import methods
from drqfaiss.datasets import Dataset

AQ = faiss.AdditiveQuantizer
# Speed hardly depends on how well a codebook fits: enough for codes that are distributed like real ones.
TRAINING = {"iterations": 10, "max_vectors": 20_000, "beam": 4, "progress": False}
PEER_TRAINING = 10_000
MIXED = {12: (4,) * 8 + (8,) * 4, 22: (4,) * 12 + (8,) * 10}  # bits of 8 and of 16 bytes, by their levels


class Filler:
    """Builds indexes of n vectors; beyond the base, its vectors repeat with a random last byte of code.

    Codebooks are named by how they are trained: "level" and "vector" are DRQ's scales, "mixed" has levels
    of 4 bits before those of 8, and "rq" is FAISS's residual quantizer.
    """

    def __init__(self, data: Dataset, seed: int) -> None:
        self.data, self.d, self.seed = data, data.d, seed
        self.base = np.random.default_rng(seed).permutation(data.base)
        # Training or encoding the same thing again would only take time.
        self.codebooks, self.codes = cache(self.codebooks), cache(self.codes)
        self.pq, self.fast_scan = cache(self.pq), cache(self.fast_scan)

    def codebooks(self, kind: str, levels: int, bits: int) -> np.ndarray | list[np.ndarray]:
        """Train codebooks, (levels, 2**bits, d) or a list by level."""
        if kind == "mixed":
            options = {"seed": self.seed, **TRAINING}
            return drqfaiss.Quantizer.train(
                self.data.learn, levels, MIXED[levels], **options
            ).level_codebooks()
        if kind != "rq":
            options = {"layout": "shared", "scale": kind, "seed": self.seed, **TRAINING}
            return drqfaiss.Quantizer.train(self.data.learn, levels, bits, **options).codebooks()
        index = faiss.IndexResidualQuantizer(self.d, levels, bits)
        index.rq.max_beam_size = 1
        index.rq.cp.min_points_per_centroid = 1
        index.train(self.data.learn[:PEER_TRAINING])
        return faiss.vector_to_array(index.rq.codebooks).reshape(levels, -1, self.d)

    def codes(self, kind: str, levels: int, bits: int) -> np.ndarray:
        """Encode the base, (n, bytes)."""
        return self.drq(0, levels, kind=kind, bits=bits).sa_encode(self.base)

    def tiled(self, n: int, kind: str, levels: int, bits: int) -> np.ndarray:
        """Repeat the codes of the base up to n rows, every repetition a little different."""
        codes = self.codes(kind, levels, bits)
        tiled = codes[np.arange(n) % len(codes)]
        repeated = tiled[len(codes) :]
        repeated[:, -1] = np.random.default_rng(self.seed).integers(0, 256, len(repeated))
        return tiled

    def drq(
        self, n: int, levels: int, metric: int = faiss.METRIC_L2, kind: str = "level", bits: int = 8
    ) -> drqfaiss.IndexDRQ:
        """Return an IndexDRQ of n vectors."""
        index = drqfaiss.IndexDRQ.from_codebooks(self.codebooks(kind, levels, bits), metric)
        if n:
            index.add_sa_codes(self.tiled(n, kind, levels, bits))
        return index

    def rq(
        self,
        n: int,
        levels: int,
        metric: int = faiss.METRIC_L2,
        search_type: int = AQ.ST_norm_qint8,
        kind: str = "level",
    ) -> faiss.IndexResidualQuantizer:
        """Return FAISS's index of the same codebooks and codes; the norms in it are made up.

        A search that reads norms takes as long whatever they are.
        """
        index = faiss.IndexResidualQuantizer(self.d, levels, 8, metric, search_type)
        faiss.copy_array_to_vector(self.codebooks(kind, levels, 8).ravel(), index.rq.codebooks)
        index.rq.compute_codebook_tables()
        index.rq.is_trained = index.is_trained = True
        squares = (self.data.learn**2).sum(1)
        index.rq.norm_min, index.rq.norm_max = float(squares.min()), float(squares.max())
        if n:
            index.add_sa_codes(np.hstack([self.tiled(n, kind, levels, 8), self._norms(index, squares, n)]))
        return index

    def _norms(self, index: faiss.IndexResidualQuantizer, squares: np.ndarray, n: int) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        if index.rq.norm_bits == 32:
            return rng.choice(squares, n).astype(np.float32).view(np.uint8).reshape(n, 4)
        return rng.integers(0, 256, (n, index.rq.norm_bits // 8), np.uint8)

    def pq(self, n: int, levels: int, metric: int = faiss.METRIC_L2) -> faiss.Index:
        """Return IndexPQ at ``levels`` bytes."""
        return self._added(methods.pq(self.d, levels, metric), n)

    def fast_scan(self, n: int, levels: int, metric: int = faiss.METRIC_L2) -> faiss.Index:
        """Return IndexPQFastScan at ``levels`` bytes."""
        return self._added(methods.pq_fast_scan(self.d, levels, metric), n)

    def _added(self, index: faiss.Index, n: int) -> faiss.Index:
        index.train(self.data.learn[:PEER_TRAINING])
        while index.ntotal < n:
            index.add(self.base[: n - index.ntotal])
        return index
