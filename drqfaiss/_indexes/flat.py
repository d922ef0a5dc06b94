"""IndexDRQ, a FAISS index whose code length is chosen at query time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from drqfaiss import _check
from drqfaiss._indexes.array_work import append_codes
from drqfaiss._indexes.arrays import Codebooks, Floats
from drqfaiss._indexes.base import (
    LevelsIndex,
    bit_widths,
    checked_codebooks,
    stored_search_type,
    use_storable_tables,
)
from drqfaiss._indexes.engines import engine_of, flat_engine
from drqfaiss._indexes.tail import restore_tail, tail_state, whole_error
from drqfaiss._indexes.tensors import takes_tensors
from drqfaiss._indexes.training import use_drq_training
from drqfaiss._least_squares.options import TrainingArguments, TrainingOptions, level_bits

if TYPE_CHECKING:
    from typing_extensions import Unpack


class IndexDRQ(LevelsIndex, faiss.IndexResidualQuantizer):
    """Deep Recurrent Quantization as a FAISS index.

    One codebook, scaled per level, quantizes the vectors; the first levels of a code are a valid shorter
    code, chosen at each search. It is a ``faiss.IndexResidualQuantizer``: everything FAISS does with one
    works, and files written by ``faiss.write_index`` are read by plain FAISS. Distances are those of the
    query to the reconstruction from the chosen levels, squared L2 or inner product.

    Vectors may be anything that NumPy converts to float32 without loss of meaning (floats, integers, any
    memory order); shape and type are checked and a bad argument changes nothing.

    Args:
        d: Dimensions.
        M: Levels; a vector takes M · nbits bits.
        nbits: Bits per level, 1 to 16; 8 is the fastest, and 9 or 10 at the same bytes the most accurate. Or
            those of every level: narrow ones first, to scan by, see `SearchParametersDRQ`.
        metric: ``faiss.METRIC_L2`` or ``faiss.METRIC_INNER_PRODUCT``.
        **training: How to train, the options of `TrainingOptions`.

    Raises:
        TypeError, ValueError: Naming the argument and what was expected.
    """

    __module__ = "drqfaiss"  # Where users and pickles find it.

    def __init__(
        self,
        d: int,
        M: int = 8,
        nbits: int | Sequence[int] = 8,
        metric: int = faiss.METRIC_L2,
        **training: Unpack[TrainingArguments],
    ) -> None:
        d, M = _check.integer("d", d, 1), _check.integer("M", M, 1)
        bits = level_bits(M, nbits, "nbits")
        metric = _check.metric("metric", metric)
        options = TrainingOptions(**training).for_shape(M, max(bits))
        super().__init__(d, bit_widths(bits), metric, stored_search_type(bits))
        use_storable_tables(self.rq)
        engine_of(self).adopt(self)
        use_drq_training(self, options)

    @classmethod
    def from_codebooks(
        cls,
        codebooks: Codebooks,
        metric: int = faiss.METRIC_L2,
        **training: Unpack[TrainingArguments],
    ) -> IndexDRQ:
        """Return a trained, empty index with the given codebooks, shape (M, K, d), K a power of two.

        A list of arrays (K, d) may have another K for every level.
        ``training`` is as for the class: beam and prefix weights also say how vectors are encoded.
        """
        codebooks, bits = checked_codebooks(codebooks)
        index = cls(codebooks.shape[1], len(bits), bits, metric, **training)
        index._take_codebooks(codebooks)
        return index

    @takes_tensors
    def add_sa_codes(self, codes: NDArray[np.uint8], ids: None = None) -> None:
        """Append codes, shape (n, code_size), as ``sa_encode`` returns them. Ids need an ``IndexIDMap``."""
        codes = _check.codes("codes", codes, self.code_size)
        if ids is not None:
            raise ValueError(
                f"ids: got {_check.shown(ids)}, expected None: an IndexDRQ numbers its vectors itself"
            )
        self._require_trained()
        self._require_whole("add_sa_codes")
        append_codes(self, codes, None)

    def permute_entries(self, perm: ArrayLike) -> None:
        """Reorder the vectors: the one at i becomes the one that was at perm[i], a permutation of the ids."""
        self._require_whole("permute_entries")
        perm = _check.ids("perm", perm)
        if not np.array_equal(np.sort(perm), np.arange(self.ntotal)):
            raise ValueError(
                f"perm: got {_check.shown(perm)}, expected a permutation of 0 to {self.ntotal - 1}"
            )
        self.permute_entries_c(faiss.swig_ptr(perm))
        engine_of(self).adopt(self)  # Drops the cached norms: FAISS moves codes without a virtual call.

    def pack(self, levels: SupportsIndex | None = None) -> int:
        """Keep a second copy of the codes, packed as searches read them, and return the bytes it takes.

        Searches for few queries need not pack codes any more, and searches for the first levels do not read
        the others; results are the same. The copy takes a byte per level and vector, in blocks of thousands,
        and follows every change of the index. It belongs to this object: copies and files have none.

        Args:
            levels: How many first levels to pack; searches that scan more do as without the copy. None: those
                that searches scan by default if they rank by more (``refine_factor`` is set), else all.

        Raises:
            TypeError, ValueError: ``levels`` is not as above, or levels have more than 11 bits, or more than
                8 and not all the same.
            RuntimeError: If the index is not trained.
        """
        self._require_trained()
        if levels is None:
            return flat_engine().pack(self, self.levels if self.refine_factor else 0)
        return flat_engine().pack(self, _check.integer("levels", levels, 1, self.rq.M))

    def unpack(self) -> None:
        """Drop what ``pack`` has made."""
        flat_engine().unpack(self)

    @property
    def packed(self) -> bool:
        """Whether there is a packed copy of the codes."""
        return self.packed_levels > 0

    @property
    def packed_levels(self) -> int:
        """How many of the first levels have a packed copy; 0: none."""
        return flat_engine().packed_levels(self)

    @property
    def all_levels(self) -> int:
        """Levels of a code, with those in a side file."""
        return int(self.rq.M) + self.tail_levels

    @property
    def tail_levels(self) -> int:
        """Levels after those in memory, which are in a side file (`split_tail`); 0: all are in memory."""
        tail = flat_engine().tail(self)
        return 0 if tail is None else len(tail.nbits)

    @property
    def tail_path(self) -> str | None:
        """The name of the side file; None if all levels are in memory."""
        tail = flat_engine().tail(self)
        return None if tail is None else tail.name

    def reset(self) -> None:
        """Remove all vectors."""
        self._require_whole("reset")
        super().reset()

    def merge_from(self, other: faiss.Index, add_id: int = 0) -> None:
        """Move the vectors of another index with the same codebooks here."""
        for index in (self, other):
            if isinstance(index, IndexDRQ):
                index._require_whole("merge_from")
        super().merge_from(other, add_id)

    @takes_tensors
    def reconstruct(self, key: int, x: Floats | None = None) -> Floats:
        """Return the vector that a code stands for, shape (d,), from all levels."""
        return self._completed([key], super().reconstruct(key, x))

    @takes_tensors
    def reconstruct_n(self, n0: int = 0, ni: int = -1, x: Floats | None = None) -> Floats:
        """Return those of ni vectors from n0 on, shape (ni, d)."""
        found = super().reconstruct_n(n0, ni, x)
        return self._completed(range(n0, n0 + len(found)), found)

    @takes_tensors
    def reconstruct_batch(self, key: ArrayLike, x: Floats | None = None) -> Floats:
        """Return those of the vectors with these ids, shape (n, d)."""
        return self._completed(key, super().reconstruct_batch(key, x))

    def _completed(self, rows: ArrayLike, x: Floats) -> Floats:
        flat_engine().complete(self, np.asarray(rows, np.int64), x.reshape(-1, self.d))
        return x

    def _require_whole(self, what: str) -> None:
        if (tail := flat_engine().tail(self)) is not None:
            raise whole_error(what, tail)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "tail": tail_state(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if tail := state.get("tail"):
            restore_tail(self, tail)

    def _make_untrained(self, shape: dict[str, Any]) -> None:
        widths = bit_widths(shape["nbits"])
        faiss.IndexResidualQuantizer.__init__(self, shape["d"], widths, shape["metric"], shape["search_type"])
