"""The trained quantizer: one codebook, a scale per level; encode, decode, save, load."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check, _core
from drqfaiss._files import writing
from drqfaiss._headers import read_archive
from drqfaiss._least_squares import widths
from drqfaiss._least_squares.model import Group
from drqfaiss._least_squares.options import (
    QUALITIES,
    OtherTrainingArguments,
    TrainingArguments,
    TrainingOptions,
    level_bits,
)
from drqfaiss._least_squares.prefixes import gain_weights

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from drqfaiss._indexes.flat import IndexDRQ

FILE_FORMAT = "drqfaiss.Quantizer"
SHARED_FIELDS = ("codebook", "scales", "mean", "rotation", "first_codebook")
GROUP_FIELDS = ("codebooks", "bits", "starts", "widths", "level_groups", "scales", "mean", "rotation")
FIELDS = ("format", "version", *dict.fromkeys(SHARED_FIELDS + GROUP_FIELDS))
FILE_VERSION = 3  # 1, which older versions read, has no first codebook; 2 has no groups but that
ENCODING_BEAM = QUALITIES["default"].encoding_beam


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Quantizer:
    """x ≈ mean + rotationᵀ Σ_m scales[m] ∘ C_m[b_m], b_m the code of level m, C_m the codebook of its group.

    The first L levels of a code are a code too, of a coarser reconstruction. The levels of a group share a
    codebook, which lives on a range of dimensions of the rotated space: all of them, or a block. The arrays
    are checked, copied and read-only.

    This constructor makes the form of the paper, one group, or two with a first level of its own; see
    `from_groups` for others.

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

    groups: tuple[Group, ...]
    level_groups: np.ndarray  # (M,) int64: the group of every level
    scales: np.ndarray
    mean: np.ndarray
    rotation: np.ndarray | None

    def __init__(
        self,
        codebook: ArrayLike,
        scales: ArrayLike,
        mean: ArrayLike | None = None,
        rotation: ArrayLike | None = None,
        first_codebook: ArrayLike | None = None,
    ) -> None:
        codebook = _codebook("codebook", codebook)
        d = codebook.shape[1]
        groups = [Group(codebook)]
        if first_codebook is not None:
            first_codebook = _frozen("first_codebook", first_codebook, 2)
            _require_shape("first_codebook", first_codebook, codebook.shape)
            groups.insert(0, Group(first_codebook))
        level_groups = np.minimum(np.arange(np.shape(scales)[0] if np.ndim(scales) else 0), len(groups) - 1)
        self._take(groups, level_groups, scales, np.zeros(d) if mean is None else mean, rotation, d)

    @classmethod
    def from_groups(
        cls,
        groups: Sequence[Group],
        level_groups: ArrayLike,
        scales: ArrayLike,
        mean: ArrayLike,
        rotation: ArrayLike | None = None,
    ) -> Quantizer:
        """Return a quantizer of any groups of levels.

        Args:
            groups: Codebooks and where they live. Their numbers of bits may differ.
            level_groups: array (M,) of integers. Which group each level is of; every group has a level.
            scales: array (M,) or (M, d), float32. Positive factors, see the class; of a level on a block
                only the factors of its dimensions count.
            mean: array (d,), float32.
            rotation: array (d, d), float32, optional. An orthogonal matrix; no rotation if None.

        Raises:
            TypeError, ValueError: An argument is not as above; the message names it and what was expected.
        """
        quantizer = cls.__new__(cls)
        mean = _frozen("mean", mean, 1)
        checked = []
        for g, group in enumerate(groups):
            _check.instance(f"groups[{g}]", group, Group)
            codebook = _codebook(f"groups[{g}].codebook", group.codebook)
            last = len(mean) - codebook.shape[1]
            if last < 0:
                raise ValueError(
                    f"groups[{g}].codebook: got {codebook.shape[1]} dimensions, expected at most "
                    f"{len(mean)}, those of mean"
                )
            checked.append(Group(codebook, _check.integer(f"groups[{g}].start", group.start, 0, last)))
        numbers = np.asarray(level_groups)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise TypeError(
                f"level_groups: got {_check.shown(level_groups)}, expected integers, one per level"
            )
        if set(numbers.tolist()) != set(range(len(checked))):
            raise ValueError(
                f"level_groups: got {_check.shown(numbers)}, expected every number from 0 to "
                f"{len(checked) - 1}"
            )
        quantizer._take(checked, numbers, scales, mean, rotation, len(mean))
        return quantizer

    def _take(
        self,
        groups: list[Group],
        level_groups: np.ndarray,
        scales: ArrayLike,
        mean: ArrayLike,
        rotation: ArrayLike | None,
        d: int,
    ) -> None:
        """Check what the groups do not say, and keep it all."""
        scales = _frozen("scales", scales, 2 if np.ndim(scales) == 2 else 1)
        if len(scales) == 0 or not (scales > 0).all():
            raise ValueError(f"scales: got {_check.shown(scales)}, expected at least one, all positive")
        levels = len(level_groups)
        _require_shape("scales", scales, (levels,) if scales.ndim == 1 else (levels, d))
        mean = _frozen("mean", mean, 1)
        _require_shape("mean", mean, (d,))
        if rotation is not None:
            rotation = _frozen("rotation", rotation, 2)
            _require_shape("rotation", rotation, (d, d))
            if np.abs(rotation @ rotation.T - np.eye(d)).max() > 1e-3:
                raise ValueError("rotation: got rows that are not orthonormal, expected an orthogonal matrix")
        level_groups = level_groups.astype(np.int64)
        level_groups.flags.writeable = False
        taken = {"groups": tuple(groups), "level_groups": level_groups, "scales": scales, "mean": mean}
        for name, value in {**taken, "rotation": rotation}.items():
            object.__setattr__(self, name, value)  # the way past a frozen dataclass

    @property
    def codebook(self) -> np.ndarray:
        """The codebook (K, d) that all levels share, but for the first if that has its own."""
        self._require_shared()
        return self.groups[-1].codebook

    @property
    def first_codebook(self) -> np.ndarray | None:
        """What level 0 has in the place of `codebook`, (K, d); None if it has none of its own."""
        self._require_shared()
        return self.groups[0].codebook if len(self.groups) > 1 else None

    @property
    def d(self) -> int:
        """Dimensions of the vectors."""
        return len(self.mean)

    @property
    def levels(self) -> int:
        """Levels M of a full code."""
        return len(self.scales)

    @property
    def level_bits(self) -> tuple[int, ...]:
        """Bits of every level, (M,)."""
        return tuple(self.groups[g].bits for g in self.level_groups)

    @property
    def bits(self) -> int:
        """Bits per level, log2 of the codewords.

        Raises:
            ValueError: Levels differ in their bits, see `level_bits`.
        """
        if len(set(self.level_bits)) > 1:
            raise ValueError(f"bits: levels of {sorted(set(self.level_bits))} bits, see level_bits")
        return self.groups[0].bits

    @property
    def codewords(self) -> int:
        """Codewords K of a codebook; raises as `bits`."""
        return 2**self.bits

    @property
    def layout(self) -> str:
        """How levels are grouped, in words."""
        if self._is_shared():
            return f"{self.levels} levels that share a codebook" + ", the first apart" * (
                len(self.groups) > 1
            )
        wide = sum(self.groups[g].codebook.shape[1] == self.d for g in self.level_groups)
        if wide == self.levels:
            return f"{self.levels} levels with {len(self.groups)} codebooks in all {self.d} dimensions"
        starts = {group.dimensions.start for group in self.groups if group.codebook.shape[1] < self.d}
        return f"{wide} levels in all {self.d} dimensions, {self.levels - wide} on {len(starts)} blocks"

    def __repr__(self) -> str:
        bits = "/".join(map(str, sorted(set(self.level_bits))))
        return f"<Quantizer of {self.d} dimensions, {bits} bits a level: {self.layout}>"

    def replace(self, **parts: Any) -> Quantizer:
        """Return a copy with other parts, as `from_groups` takes them."""
        names = ("groups", "level_groups", "scales", "mean", "rotation")
        return Quantizer.from_groups(**{name: getattr(self, name) for name in names} | parts)

    def codebooks(self) -> np.ndarray:
        """Return the codebook of every level as FAISS has them, (M, K, d) float32, the mean in level 0.

        Raises:
            ValueError: Levels differ in their bits, see `level_codebooks`.
        """
        codebooks = np.empty((self.levels, self.codewords, self.d), np.float32)
        for m in range(self.levels):
            codebooks[m] = self._codebook(m)
        return codebooks

    def level_codebooks(self) -> list[np.ndarray]:
        """Return the same as a list of arrays (K, d), where levels may differ in their bits."""
        return [self._codebook(m) for m in range(self.levels)]

    def _codebook(self, m: int) -> np.ndarray:
        """Return the codebook of level m, (K, d), in the space of the vectors."""
        group = self.groups[self.level_groups[m]]
        scale = self.scales[m] if self.scales.ndim == 1 else self.scales[m, group.dimensions]
        codebook = scale * group.codebook
        if self.rotation is not None:
            codebook = codebook @ self.rotation[group.dimensions]
        elif codebook.shape[1] < self.d:
            wide = np.zeros((len(codebook), self.d), np.float32)
            wide[:, group.dimensions] = codebook
            codebook = wide
        return codebook + self.mean if m == 0 else codebook

    def _is_shared(self) -> bool:
        """Whether this is the form that the constructor makes."""
        own_first = self.level_groups.tolist() == [0] + [1] * (self.levels - 1)
        wide = all(group.codebook.shape[1] == self.d for group in self.groups)
        return wide and (len(self.groups) == 1 or (len(self.groups) == 2 and own_first))

    def _require_shared(self) -> None:
        if not self._is_shared():
            raise AttributeError(f"codebook: this quantizer has {len(self.groups)}, see groups")

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
        codes = _core.encode(x, self.level_codebooks(), beam, gains)
        return codes.astype(np.uint8 if max(self.level_bits) <= 8 else np.uint16)

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
            raise TypeError(f"codes: got dtype {codes.dtype}, expected integers")
        levels = self.levels if levels is None else _check.integer("levels", levels, 1, self.levels)
        if codes.ndim != 2 or not levels <= codes.shape[1] <= self.levels:
            raise ValueError(f"codes: got shape {codes.shape}, expected (n, {self.levels})")
        codes = codes[:, :levels]
        for m, bits in enumerate(self.level_bits[:levels]):
            own = codes[:, m]
            if len(own) and not (own.min() >= 0 and own.max() < 2**bits):
                raise ValueError(
                    f"codes: got {own.min()} to {own.max()} at level {m}, expected 0 to {2**bits - 1}"
                )
        x = np.zeros((len(codes), self.d), np.float32)
        for m in range(levels):
            x += self._codebook(m)[codes[:, m]]
        return x

    @classmethod
    def train(
        cls,
        x: ArrayLike,
        levels: int = 8,
        bits: int | Sequence[int] = 8,
        scale: str = "level",
        prefix_weights: Mapping[int, float] | None = None,
        **options: Unpack[OtherTrainingArguments],
    ) -> Quantizer:
        """Train on vectors without labels.

        The result is the same bit for bit for a seed, as long as the number of threads is the same.

        Args:
            x: array (n, d), float32. Finite, at least 2**bits vectors.
            levels: Levels M of the full code. Without blocks levels * 2**bits is at most 23170, for memory.
            bits: Bits per level; the codebook has 2**bits codewords. Or those of every level, (M,): first few
                bits, which are quick to scan, then more.
            scale: As in `TrainingOptions`.
            prefix_weights: As in `TrainingOptions`.
            **options: The others of `TrainingOptions`.

        Raises:
            TypeError, ValueError: An argument is not as above; the message names it and what was expected.
        """
        training = TrainingOptions(scale=scale, prefix_weights=prefix_weights, **options)
        return cls.from_groups(*widths.train(x, level_bits(levels, bits), training))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .npz file that `load` reads; the name is used as it is.

        The file appears whole: a write that fails leaves what was there before. See `write_index`.

        Raises:
            OSError: The file cannot be written.
        """
        version, arrays = self._stored()
        with writing(path) as file:
            np.savez(file, format=FILE_FORMAT, version=version, **arrays)

    def _stored(self) -> tuple[int, dict[str, Any]]:
        """Return the oldest version that can hold this quantizer, and its arrays."""
        arrays: dict[str, Any] = {"scales": self.scales, "mean": self.mean}
        if self.rotation is not None:
            arrays["rotation"] = self.rotation
        if not self._is_shared():
            arrays["codebooks"] = np.concatenate([group.codebook.ravel() for group in self.groups])
            arrays["bits"] = np.array([group.bits for group in self.groups])
            arrays["starts"] = np.array([group.start for group in self.groups])
            arrays["widths"] = np.array([group.codebook.shape[1] for group in self.groups])
            arrays["level_groups"] = self.level_groups
            return 3, arrays
        arrays["codebook"] = self.codebook
        if self.first_codebook is None:
            return 1, arrays
        return 2, {**arrays, "first_codebook": self.first_codebook}

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
            raise ValueError(f"{name}: got a file of {sorted(fields)}, expected a {FILE_FORMAT} file")
        try:
            version = int(fields["version"])
            if version <= FILE_VERSION:
                return cls._from_fields(version, fields)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{name}: a damaged {FILE_FORMAT} file ({error})") from error
        raise ValueError(
            f"{name}: got {FILE_FORMAT} version {version}, expected at most {FILE_VERSION}: a newer drqfaiss "
            "wrote it"
        )

    @classmethod
    def _from_fields(cls, version: int, fields: Mapping[str, np.ndarray]) -> Quantizer:
        """Return what `_stored` describes; raises KeyError, TypeError or ValueError for what cannot be."""
        rotation = fields.get("rotation")
        if version < 3:
            optional = (rotation, fields.get("first_codebook"))
            return cls(fields["codebook"], fields["scales"], fields["mean"], *optional)
        shape_of_groups = zip(fields["bits"], fields["widths"], fields["starts"], strict=True)
        groups, rest = [], _check.floats("codebooks", fields["codebooks"], 1)
        for bits, width, start in shape_of_groups:
            K, B = 2 ** _check.integer("bits", bits, 1, 16), _check.integer("widths", width, 1)
            if len(rest) < K * B:
                raise ValueError(f"codebooks: got {len(rest)} numbers, expected {K} * {B} for the next group")
            groups.append(Group(rest[: K * B].reshape(K, B), int(start)))
            rest = rest[K * B :]
        if len(rest):
            raise ValueError(f"codebooks: got {len(rest)} numbers more than the groups need")
        return cls.from_groups(groups, fields["level_groups"], fields["scales"], fields["mean"], rotation)

    def to_index(self, metric: int = faiss.METRIC_L2, **training: Unpack[TrainingArguments]) -> IndexDRQ:
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

        return IndexDRQ.from_codebooks(self.level_codebooks(), metric, **training)

    @classmethod
    def from_index(cls, index: faiss.Index) -> Quantizer:
        """Factor a trained residual quantizer index: levels that are multiples of one codebook share it.

        Args:
            index: A residual quantizer index, flat or with inverted lists, or one that holds one of them
                (IDMap, PreTransform, Refine, …). The quantizer is of what this encodes: of residuals, where
                lists have codes of them, and of transformed vectors.

        Raises:
            TypeError: There is no residual quantizer index in it.
            ValueError: It is not trained, or there are several, such as shards.
        """
        from drqfaiss._indexes.nested import residual_quantizers  # which imports this module

        _check.instance("index", index, faiss.Index)
        found = [*residual_quantizers(index)]
        if not found:
            raise TypeError(f"index: got {type(index).__name__}, expected a residual quantizer index")
        if len(found) > 1:
            raise ValueError(f"index: got {len(found)} residual quantizer indexes, expected one")
        (residual,) = found
        if not residual.is_trained:
            raise ValueError("index: got one that is not trained, expected a trained residual quantizer")
        ends = np.cumsum(1 << faiss.vector_to_array(residual.rq.nbits).astype(np.int64))
        stored = faiss.vector_to_array(residual.rq.codebooks).reshape(-1, residual.d)
        return cls._factored(np.split(stored, ends[:-1]))

    @classmethod
    def _factored(cls, stored: list[np.ndarray]) -> Quantizer:
        """Return the quantizer whose `level_codebooks` these are."""
        level_groups, scales, shift = _core.factor(stored)
        mean = np.array(shift, np.float32)
        blocks, axes = _core.blocks(stored)
        firsts = [stored[level_groups.index(g)] - (mean if g == 0 else 0) for g in range(len(blocks))]
        if not any(begin >= 0 for begin, _ in blocks):
            groups = [Group(codebook) for codebook in firsts]
            return cls.from_groups(groups, level_groups, scales, mean)
        rotation = _completed(axes)
        groups = [
            Group(codebook @ rotation.T)
            if begin < 0
            else Group(codebook @ rotation[begin : begin + size].T, begin)
            for codebook, (begin, size) in zip(firsts, blocks, strict=True)
        ]
        return cls.from_groups(groups, level_groups, scales, mean, rotation)


def _completed(axes: np.ndarray) -> np.ndarray:
    """Return an orthogonal matrix (d, d) float32 whose first rows are orthonormal axes (F, d), nearly."""
    size = len(axes)
    basis, triangle = np.linalg.qr(axes.T.astype(np.float64), mode="complete")
    signs = np.where(np.diag(triangle) < 0, -1.0, 1.0)
    basis[:, :size] *= signs
    return np.ascontiguousarray(basis.T, np.float32)


def _codebook(name: str, value: ArrayLike) -> np.ndarray:
    """Return a checked codebook, (K, B)."""
    codebook = _frozen(name, value, 2)
    if len(codebook) not in [2**bits for bits in range(1, 17)]:
        raise ValueError(f"{name}: got {len(codebook)} codewords, expected a power of two from 2 to 65536")
    return codebook


def _frozen(name: str, value: ArrayLike, ndim: int) -> np.ndarray:
    """Return a read-only copy of finite float32 numbers."""
    copy = _check.floats(name, value, ndim).copy()
    _check.finite(name, copy)
    copy.flags.writeable = False
    return copy


def _require_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")
