"""The trained quantizer: one codebook, a scale per level; encode, decode, save, load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check, _core
from drqfaiss._files import writing
from drqfaiss._headers import read_archive
from drqfaiss._least_squares import train as least_squares
from drqfaiss._least_squares.options import QUALITIES, TrainingOptions
from drqfaiss._least_squares.prefixes import gain_weights

if TYPE_CHECKING:
    from drqfaiss._indexes.flat import IndexDRQ

FILE_FORMAT = "drqfaiss.Quantizer"
FIELDS = ("format", "version", "codebook", "scales", "mean", "rotation", "first_codebook")
FILE_VERSION = 2  # 1, which older versions read, has no first codebook
ENCODING_BEAM = QUALITIES["default"].encoding_beam


@dataclass(frozen=True, eq=False, init=False)
class Quantizer:
    """x ≈ mean + rotationᵀ Σ_m scales[m] ∘ codebook[b_m], b_m the code of level m.

    The first L levels of a code are a code too, of a coarser reconstruction. Level 0 may have a codebook of
    its own. The arrays are checked, copied and read-only.

    Args:
        codebook: array (K, d), float32. K a power of two from 2 to 65536.
        scales: array (M,) or (M, d), float32. Positive factors: one per level, or one per level and
            dimension.
        mean: array (d,), float32, optional. Zero if None.
        rotation: array (d, d), float32, optional. An orthogonal matrix; no rotation if None.
        first_codebook: array (K, d), float32, optional. What level 0 has in the place of `codebook`.

    Raises:
        TypeError, ValueError: An argument is not as above; the message names it and what was expected.
    """

    codebook: np.ndarray
    scales: np.ndarray
    mean: np.ndarray
    rotation: np.ndarray | None
    first_codebook: np.ndarray | None

    def __init__(
        self,
        codebook: ArrayLike,
        scales: ArrayLike,
        mean: ArrayLike | None = None,
        rotation: ArrayLike | None = None,
        first_codebook: ArrayLike | None = None,
    ) -> None:
        codebook = _frozen("codebook", codebook, 2)
        K, d = codebook.shape
        if K not in [2**bits for bits in range(1, 17)]:
            raise ValueError(f"codebook: got {K} codewords, expected a power of two from 2 to 65536")
        scales = _frozen("scales", scales, 2 if np.ndim(scales) == 2 else 1)
        if len(scales) == 0 or not (scales > 0).all():
            raise ValueError(f"scales: got {_check.shown(scales)}, expected at least one, all positive")
        mean = _frozen("mean", np.zeros(d) if mean is None else mean, 1)
        rotation = None if rotation is None else _frozen("rotation", rotation, 2)
        _require_shape("scales", scales, (len(scales),) if scales.ndim == 1 else (len(scales), d))
        _require_shape("mean", mean, (d,))
        if rotation is not None:
            _require_shape("rotation", rotation, (d, d))
            if np.abs(rotation @ rotation.T - np.eye(d)).max() > 1e-3:
                raise ValueError("rotation: got rows that are not orthonormal, expected an orthogonal matrix")
        if first_codebook is not None:
            first_codebook = _frozen("first_codebook", first_codebook, 2)
            _require_shape("first_codebook", first_codebook, (K, d))
        checked = {"codebook": codebook, "scales": scales, "mean": mean, "rotation": rotation}
        checked["first_codebook"] = first_codebook
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
        if self.first_codebook is not None:
            codebooks[0] = scales[0] * self.first_codebook
        if self.rotation is not None:
            codebooks = codebooks @ self.rotation
        codebooks[0] += self.mean
        return np.ascontiguousarray(codebooks, np.float32)

    def encode(
        self,
        x: ArrayLike,
        beam: int = ENCODING_BEAM,
        prefix_weights: Mapping[int, float] | None = None,
    ) -> np.ndarray:
        """Encode vectors by beam search.

        Args:
            x: array (n, d), float32. Finite vectors.
            beam: Partial codes kept at every level; more lower the error and take longer.
            prefix_weights: How much the error after the first L levels counts, {L: weight}, as in `train`;
                None: only that of the full code counts.

        Returns:
            (n, M). uint8 up to 8 bits per level, else uint16.
        """
        x = _check.vectors("x", x, self.d)
        _check.finite("x", x)
        beam = _check.integer("beam", beam, 1, 2**31 - 1)
        gains = gain_weights(self.levels, prefix_weights)
        codes = _core.encode(x, self.codebooks(), beam, gains)
        return codes.astype(np.uint8 if self.codewords <= 256 else np.uint16)

    def decode(self, codes: ArrayLike, levels: int | None = None) -> np.ndarray:
        """Reconstruct vectors from the first `levels` levels of their codes.

        Args:
            codes: array (n, M) of integers. Columns after the first `levels` may be missing.
            levels: How many levels to use; all if None.

        Returns:
            (n, d), float32
        """
        codes = np.asarray(codes)
        if codes.dtype.kind not in "iu":
            raise TypeError(f"codes: dtype {codes.dtype}, expected integers")
        levels = self.levels if levels is None else _check.integer("levels", levels, 1, self.levels)
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
        x: ArrayLike,
        levels: int = 8,
        bits: int = 8,
        scale: str = "level",
        prefix_weights: Mapping[int, float] | None = None,
        **options: Any,
    ) -> Quantizer:
        """Train on vectors without labels.

        The result is the same bit for bit for a seed, as long as the number of threads is the same.

        Args:
            x: array (n, d), float32. Finite, at least 2**bits vectors.
            levels: Levels M of the full code; levels * 2**bits is at most 23170, for memory.
            bits: Bits per level; the codebook has 2**bits codewords.
            scale: As in `TrainingOptions`.
            prefix_weights: As in `TrainingOptions`.
            **options: The others of `TrainingOptions`.

        Raises:
            TypeError, ValueError: An argument is not as above; the message names it and what was expected.
        """
        training = TrainingOptions(scale=scale, prefix_weights=prefix_weights, **options)
        return cls(*least_squares.train(x, levels, bits, training))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .npz file that `load` reads; the name is used as it is.

        The file appears whole: a write that fails leaves what was there before. See `io.write_index`.

        Raises:
            OSError: The file cannot be written.
        """
        arrays: dict[str, Any] = {"codebook": self.codebook, "scales": self.scales, "mean": self.mean}
        for name in ("rotation", "first_codebook"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        version = 1 if self.first_codebook is None else FILE_VERSION
        with writing(path) as file:
            np.savez(file, format=FILE_FORMAT, version=version, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Quantizer:
        """Read what `save` wrote.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no quantizer file, is damaged, claims more than a file of its size can hold, or
                was written by a newer version.
        """
        name = os.fspath(path)
        fields = read_archive(name, FIELDS, f"not a {FILE_FORMAT} file, or truncated")
        if str(fields.get("format")) != FILE_FORMAT:
            raise ValueError(f"{name}: not a {FILE_FORMAT} file; it holds {sorted(fields)}")
        try:
            version = int(fields["version"])
            if version <= FILE_VERSION:
                optional = (fields.get("rotation"), fields.get("first_codebook"))
                return cls(fields["codebook"], fields["scales"], fields["mean"], *optional)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{name}: a damaged {FILE_FORMAT} file ({error})") from error
        raise ValueError(
            f"{name}: {FILE_FORMAT} version {version}, expected at most {FILE_VERSION}: a newer drqfaiss "
            "wrote it"
        )

    def to_index(self, metric: int = faiss.METRIC_L2, **training: Any) -> IndexDRQ:
        """Return an empty, trained index with these codebooks.

        Args:
            metric: ``faiss.METRIC_L2`` or ``faiss.METRIC_INNER_PRODUCT``.
            **training: As IndexDRQ takes it. A quantizer does not remember how it was trained: give `quality`
                or `beam`, and `prefix_weights`, again to encode what is added as an IndexDRQ that was trained
                with them.

        Raises:
            TypeError, ValueError: Naming the argument and what was expected.
        """
        from drqfaiss._indexes.flat import IndexDRQ  # which imports this module

        return IndexDRQ.from_codebooks(self.codebooks(), metric, **training)

    @classmethod
    def from_index(cls, index: faiss.IndexResidualQuantizer) -> Quantizer:
        """Factor a trained residual quantizer index whose levels are multiples of one codebook.

        The first level may have a codebook of its own.

        Raises:
            TypeError: The index is no residual quantizer index.
            ValueError: It is not trained, or its levels do not share a codebook.
        """
        # The downcast object does not own the index: the argument has to stay referenced.
        residual = faiss.downcast_index(index) if isinstance(index, faiss.Index) else index
        if not isinstance(residual, faiss.IndexResidualQuantizer):
            raise TypeError(f"index: {type(residual).__name__}, expected a faiss.IndexResidualQuantizer")
        if not residual.is_trained:
            raise ValueError("index: not trained, expected a trained residual quantizer")
        nbits = faiss.vector_to_array(residual.rq.nbits)
        if len(set(nbits)) != 1:
            raise ValueError(f"index: levels of {nbits.tolist()} bits, expected the same for every level")
        stored = faiss.vector_to_array(residual.rq.codebooks).reshape(
            len(nbits), 2 ** int(nbits[0]), residual.d
        )
        groups, scales, shift = _core.factor(stored)
        own_first = len(groups) > 1 and groups == [0] + [1] * (len(groups) - 1)
        if len(set(groups)) != 1 and not own_first:
            raise ValueError(
                f"index: {len(set(groups))} different codebooks, expected levels that are multiples of one"
            )
        mean = np.array(shift, np.float32)
        first = stored[0] - mean
        codebook, own = (stored[1], first) if own_first else (first, None)
        return cls(codebook, np.array(scales, np.float32), mean, first_codebook=own)


def _frozen(name: str, value: ArrayLike, ndim: int) -> np.ndarray:
    """Return a read-only copy of finite float32 numbers."""
    copy = _check.floats(name, value, ndim).copy()
    _check.finite(name, copy)
    copy.flags.writeable = False
    return copy


def _require_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")
