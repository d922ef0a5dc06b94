"""The trained quantizer: one codebook, a scale per level; encode, decode, save, load."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from drqfaiss import _core
from drqfaiss.training import least_squares

if TYPE_CHECKING:
    from drqfaiss.index import IndexDRQ

FILE_FORMAT = "drqfaiss.Quantizer"
FILE_VERSION = 1


@dataclass(frozen=True, eq=False)
class Quantizer:
    """x ≈ mean + rotationᵀ Σ_m scales[m] ∘ codebook[b_m], b_m the code of level m.

    The first L levels of a code are a code too, of a coarser reconstruction. The arrays are checked, copied
    and read-only.

    Args:
        codebook: (K, d) float32, K a power of two from 2 to 65536.
        scales: (M,) or (M, d) float32, all positive: one factor per level, or one per level and dimension.
        mean: (d,) float32, or None for zero.
        rotation: (d, d) float32, orthogonal, or None for none.

    Raises:
        TypeError: an argument is not a float32 array.
        ValueError: a shape or a value is not as above.
    """

    codebook: np.ndarray
    scales: np.ndarray
    mean: np.ndarray | None = None
    rotation: np.ndarray | None = None

    def __post_init__(self) -> None:
        codebook = _checked("codebook", self.codebook, ndim=(2,))
        K, d = codebook.shape
        if d == 0 or K < 2 or K > 2**16 or K & (K - 1):
            raise ValueError(
                f"codebook: shape {codebook.shape}, expected (K, d) with K a power of two from 2 to 65536"
            )
        scales = _checked("scales", self.scales, ndim=(1, 2))
        if len(scales) == 0 or scales.shape[1:] not in ((), (d,)):
            raise ValueError(
                f"scales: shape {scales.shape}, expected (M,) or (M, {d}) with at least one level"
            )
        if not (scales > 0).all():
            raise ValueError(f"scales: the smallest is {scales.min()}, expected positive values")
        mean = np.zeros(d, np.float32) if self.mean is None else self.mean
        mean = _checked("mean", mean, ndim=(1,))
        if mean.shape != (d,):
            raise ValueError(f"mean: shape {mean.shape}, expected ({d},)")
        rotation = self.rotation
        if rotation is not None:
            rotation = _checked("rotation", rotation, ndim=(2,))
            if rotation.shape != (d, d):
                raise ValueError(f"rotation: shape {rotation.shape}, expected ({d}, {d})")
            if np.abs(rotation @ rotation.T - np.eye(d)).max() > 1e-3:
                raise ValueError("rotation: rows are not orthonormal, expected an orthogonal matrix")
        checked = {"codebook": codebook, "scales": scales, "mean": mean, "rotation": rotation}
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # the way past a frozen dataclass

    @property
    def d(self) -> int:
        """Dimensions of the vectors."""
        return self.codebook.shape[1]

    @property
    def levels(self) -> int:
        """Levels M of a full code."""
        return len(self.scales)

    @property
    def codewords(self) -> int:
        """Codewords K of the codebook."""
        return len(self.codebook)

    @property
    def bits(self) -> int:
        """Bits per level, log2 of the codewords."""
        return self.codewords.bit_length() - 1

    def codebooks(self) -> np.ndarray:
        """Return the codebook of every level as FAISS has them, (M, K, d) float32, the mean in level 0."""
        scales = self.scales if self.scales.ndim == 2 else self.scales[:, None]
        codebooks = scales[:, None] * self.codebook
        if self.rotation is not None:
            codebooks = codebooks @ self.rotation
        codebooks[0] += self.mean
        return np.ascontiguousarray(codebooks, np.float32)

    def encode(self, x: np.ndarray, beam: int = 16) -> np.ndarray:
        """Encode vectors by beam search.

        Args:
            x: (n, d) float32, finite.
            beam: partial codes kept at every level; more lowers the error and takes longer.

        Returns:
            (n, M) codes, uint8 up to 8 bits per level, else uint16.

        Raises:
            TypeError: x is not a float32 array.
            ValueError: x has another shape or values that are not finite, or beam < 1.
        """
        x = least_squares.check_vectors(x)
        if x.shape[1] != self.d:
            raise ValueError(f"x: shape {x.shape}, expected (n, {self.d})")
        codes = _core.encode(x, self.codebooks(), least_squares.check_count("beam", beam))
        return codes.astype(np.uint8 if self.codewords <= 256 else np.uint16)

    def decode(self, codes: np.ndarray, levels: int | None = None) -> np.ndarray:
        """Reconstruct vectors from the first `levels` levels of their codes.

        Args:
            codes: (n, M) integers below K; columns after `levels` may be missing.
            levels: how many levels to use, None for all.

        Returns:
            (n, d) float32.

        Raises:
            TypeError: codes are not integers.
            ValueError: a shape, a code or `levels` is out of range.
        """
        codes = np.asarray(codes)
        if codes.dtype.kind not in "iu":
            raise TypeError(f"codes: dtype {codes.dtype}, expected integers")
        if levels is None:
            levels = self.levels
        if not 1 <= levels <= self.levels:
            raise ValueError(f"levels: {levels}, expected 1 to {self.levels}, or None for all")
        if codes.ndim != 2 or not levels <= codes.shape[1] <= self.levels:
            raise ValueError(f"codes: shape {codes.shape}, expected (n, {self.levels})")
        codes = codes[:, :levels]
        if codes.size and not (codes.min() >= 0 and codes.max() < self.codewords):
            raise ValueError(
                f"codes: from {codes.min()} to {codes.max()}, expected 0 to {self.codewords - 1}"
            )
        codebooks = self.codebooks()
        x = np.zeros((len(codes), self.d), np.float32)
        for m in range(levels):
            x += codebooks[m, codes[:, m]]
        return x

    @classmethod
    def train(
        cls,
        x: np.ndarray,
        levels: int = 8,
        bits: int = 8,
        scale: str = "level",
        prefix_weights: Mapping[int, float] | None = None,
        **options: Any,
    ) -> Quantizer:
        """Train on x without labels; arguments and errors as in training.least_squares.train."""
        return cls(
            *least_squares.train(
                x, levels=levels, bits=bits, scale=scale, prefix_weights=prefix_weights, **options
            )
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .npz file that `load` reads; the name is used as it is."""
        arrays = {"codebook": self.codebook, "scales": self.scales, "mean": self.mean}
        if self.rotation is not None:
            arrays["rotation"] = self.rotation
        with open(path, "wb") as file:
            np.savez(file, format=FILE_FORMAT, version=FILE_VERSION, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Quantizer:
        """Read what `save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no quantizer file, is damaged, or was written by a newer version.
        """
        with open(path, "rb") as file:
            try:
                with np.load(file, allow_pickle=False) as content:
                    fields = dict(content)
            except (zipfile.BadZipFile, ValueError, EOFError, AttributeError, TypeError) as error:
                raise ValueError(f"{path}: not a {FILE_FORMAT} file, or truncated ({error})") from error
        if str(fields.get("format")) != FILE_FORMAT:
            raise ValueError(f"{path}: not a {FILE_FORMAT} file; it holds {sorted(fields)}")
        if int(fields["version"]) > FILE_VERSION:
            raise ValueError(
                f"{path}: {FILE_FORMAT} version {int(fields['version'])}, expected at most {FILE_VERSION}: "
                "a newer drqfaiss wrote it"
            )
        try:
            return cls(fields["codebook"], fields["scales"], fields["mean"], fields.get("rotation"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: a damaged {FILE_FORMAT} file ({error})") from error

    def to_index(self, metric: int = faiss.METRIC_L2) -> IndexDRQ:
        """Return an empty, trained index with these codebooks."""
        from drqfaiss.index import IndexDRQ  # the index layer imports this module

        return IndexDRQ.from_codebooks(self.codebooks(), metric)

    @classmethod
    def from_index(cls, index: faiss.IndexResidualQuantizer) -> Quantizer:
        """Factor a trained residual quantizer index whose levels are multiples of one codebook.

        Raises:
            TypeError: index is no residual quantizer index.
            ValueError: it is not trained, or its levels do not share a codebook.
        """
        index = faiss.downcast_index(index) if isinstance(index, faiss.Index) else index
        if not isinstance(index, faiss.IndexResidualQuantizer):
            raise TypeError(f"index: {type(index).__name__}, expected a faiss.IndexResidualQuantizer")
        if not index.is_trained:
            raise ValueError("index: not trained, expected a trained residual quantizer")
        nbits = faiss.vector_to_array(index.rq.nbits)
        if len(set(nbits)) != 1:
            raise ValueError(f"index: levels of {nbits.tolist()} bits, expected the same for every level")
        stored = faiss.vector_to_array(index.rq.codebooks).reshape(len(nbits), 2 ** int(nbits[0]), index.d)
        groups, scales, shift = _core.factor(stored)
        if len(set(groups)) != 1:
            raise ValueError(
                f"index: {len(set(groups))} different codebooks, expected levels that are multiples of one"
            )
        shift = np.array(shift, np.float32)
        return cls(stored[0] - shift, np.array(scales, np.float32), shift)


def _checked(name: str, value: object, ndim: tuple[int, ...]) -> np.ndarray:
    """Return a read-only C-contiguous copy of a finite float32 array."""
    if not isinstance(value, np.ndarray) or value.dtype != np.float32:
        raise TypeError(f"{name}: {getattr(value, 'dtype', type(value).__name__)}, expected a float32 array")
    if value.ndim not in ndim:
        raise ValueError(f"{name}: shape {value.shape}, expected {' or '.join(map(str, ndim))} dimensions")
    if not np.isfinite(value).all():
        raise ValueError(f"{name}: has values that are not finite")
    copy = np.array(value, order="C")
    copy.flags.writeable = False
    return copy
