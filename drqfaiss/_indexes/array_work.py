"""What searches through Python have in common: FAISS's codes as arrays, and what is kept of them.

What is known about an index beyond FAISS's fields stays with its Python object, as there is no telling when
the C++ object goes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss import _check
from drqfaiss._core import ArrayIndex, plugin
from drqfaiss._indexes.arrays import Codes, Depth, Floats, Ids, Parameters
from drqfaiss._indexes.trainer import train
from drqfaiss._plugin.layout import address


@dataclass
class State:
    """What an index has beyond FAISS's fields."""

    depth: Depth = field(default_factory=Depth)  # How deep searches look that name no numbers.
    training: str = ""  # As `TrainingOptions.to_json` writes it; empty: FAISS's training.
    core: ArrayIndex = field(default_factory=ArrayIndex)  # It keeps norms and packed codes.


def state_of(index: faiss.Index) -> State:
    """Return what is known about an index, made at the first call."""
    if "_drqfaiss_state" not in index.__dict__:
        index.__dict__.setdefault("_drqfaiss_state", State())  # Another thread may have been faster.
    state: State = index.__dict__["_drqfaiss_state"]
    return state


class ArraySearch(ABC):
    """What flat indexes and lists have in common of an `engines.Engine`."""

    def why_not(self, index: faiss.Index) -> str:
        if index.metric_type not in _check.METRIC_NAMES:
            return f"its metric_type is {index.metric_type}, expected METRIC_L2 or METRIC_INNER_PRODUCT"
        unfit = [bits for bits in widths(index) if not 1 <= bits <= 16]
        return f"it has a level of {unfit[0]} bits, expected 1 to 16" if unfit else ""

    def adopt(self, index: faiss.Index) -> None:
        if reason := self.why_not(index):
            raise ValueError(f"cannot adopt this index: {reason}")
        state_of(index).core.forget()

    def is_adopted(self, index: faiss.Index) -> bool:
        return True

    def depth(self, index: faiss.Index) -> Depth:
        return state_of(index).depth

    def set_depth(self, index: faiss.Index, depth: Depth) -> None:
        state_of(index).depth = depth

    def training(self, index: faiss.Index) -> str:
        return state_of(index).training

    def set_training(self, index: faiss.Index, options: str, gain_weights: list[float]) -> None:
        state_of(index).training = options
        state_of(index).core.set_gain_weights(gain_weights)

    def add(self, index: faiss.Index, x: Floats, ids: Ids | None) -> None:
        codes = np.empty((len(x), index.sa_code_size()), np.uint8)
        self.sa_encode(index, x, codes)
        append_codes(index, codes, ids)

    @abstractmethod
    def sa_encode(self, index: faiss.Index, x: Floats, codes: Codes) -> None:
        """Write the codes of vectors."""


def append_codes(index: faiss.Index, codes: Codes, ids: Ids | None) -> None:
    """Append codes of shape (n, sa_code_size()); a flat index takes no ids."""
    if hasattr(index, "add_sa_codes_c"):
        index.add_sa_codes_c(len(codes), *map(_pointer, (codes, ids)))
        return
    held = index.ntotal * index.code_size  # FAISS has no such function for flat indexes before 1.10.
    index.codes.resize(held + codes.size)
    faiss.rev_swig_ptr(index.codes.data(), held + codes.size)[held:] = codes.ravel()
    index.ntotal += len(codes)


def _pointer(array: NDArray[Any] | None) -> Any:
    return None if array is None else faiss.swig_ptr(array)


def widths(index: faiss.Index) -> list[int]:
    """Return the bits of each level."""
    return faiss.vector_to_array(index.rq.nbits).tolist()


def quantizer_of(index: faiss.Index) -> tuple[Floats, list[int]]:
    """Return FAISS's own codebooks, level after level, and the bits of each level."""
    codebooks = index.rq.codebooks
    return faiss.rev_swig_ptr(codebooks.data(), codebooks.size()), widths(index)


def is_l2(index: faiss.Index) -> bool:
    """Return whether an index compares distances; the others compare inner products."""
    return bool(index.metric_type == faiss.METRIC_L2)


def depth_of(index: faiss.Index, params: Parameters) -> Depth:
    """Return how deep a search looks: as its parameters say, else the index, else at all levels."""
    asked = Depth() if params is None else Depth(*plugin.parameter_depth(address(params)))
    depth = asked.or_else(state_of(index).depth)
    return depth._replace(levels=depth.levels or index.rq.M)


def levels_of(index: faiss.Index, params: Parameters) -> int:
    """Return how many levels a search scans."""
    return depth_of(index, params).levels


def mask_of(params: Parameters, ids: Ids) -> NDArray[np.bool_] | None:
    """Return which ids the selector of the parameters lets through; None for all."""
    selector = None if params is None else params.sel
    if selector is None:
        return None
    return np.fromiter(map(selector.is_member, ids.tolist()), np.bool_, len(ids))


def encode(index: faiss.Index, x: Floats, packed: Codes) -> NDArray[np.int32]:
    """Write the codes of what is encoded, vectors or residuals, as FAISS packs them.

    Returns:
        Them not packed, (n, levels), with the levels that are in a side file.
    """
    rq = index.rq
    codes = state_of(index).core.encode(*quantizer_of(index), x, rq.max_beam_size)
    rq.pack_codes(len(x), faiss.swig_ptr(codes), faiss.swig_ptr(packed), codes.shape[1])
    return codes


def train_quantizer(index: faiss.Index, x: Floats) -> None:
    """Train the residual quantizer of an index on x."""
    rq = index.rq
    if rq.norm_bits:  # Only FAISS's own training fits the table that stored norms are quantized with.
        raise RuntimeError(
            f"the search type stores a norm of {rq.norm_bits} bits, expected one without stored norms "
            "(ST_norm_from_LUT)"
        )
    codebooks = train(x, widths(index), state_of(index).training)
    faiss.copy_array_to_vector(np.ascontiguousarray(codebooks, np.float32).ravel(), rq.codebooks)
    if rq.search_type == faiss.AdditiveQuantizer.ST_norm_from_LUT:
        rq.compute_codebook_tables()
    rq.is_trained = index.is_trained = True
