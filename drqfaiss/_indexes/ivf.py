"""IndexIVFDRQ: codes in inverted lists, of which a search looks into the nearest few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from drqfaiss import _check
from drqfaiss._indexes.array_work import append_codes
from drqfaiss._indexes.arrays import Codebooks, Floats, Ids, Probes, Query
from drqfaiss._indexes.base import (
    FLOAT32,
    LevelsIndex,
    bit_widths,
    checked_codebooks,
    numbers_of,
    stored_search_type,
    use_storable_tables,
)
from drqfaiss._indexes.engines import engine_of, list_engine
from drqfaiss._indexes.parameters import SearchParametersIVFDRQ
from drqfaiss._indexes.tensors import takes_tensors
from drqfaiss._indexes.training import use_drq_training
from drqfaiss._least_squares.options import TrainingArguments, TrainingOptions, level_bits

if TYPE_CHECKING:
    from typing_extensions import Unpack

_SETTINGS = ("by_residual", "nprobe", "max_codes", "parallel_mode")


class IndexIVFDRQ(LevelsIndex, faiss.IndexIVFResidualQuantizer):
    """Deep Recurrent Quantization in inverted lists.

    Every vector goes to the list of its nearest centroid, as a DRQ code of what the centroid leaves over; a
    search looks into the ``nprobe`` lists nearest to the query. All lists share one codebook. It is a
    ``faiss.IndexIVFResidualQuantizer``, and files written by ``faiss.write_index`` are read by plain FAISS.

    Args:
        quantizer: The coarse quantizer, any FAISS index that holds, or will be trained to hold, nlist
            centroids; of the same metric.
        d: Dimensions.
        nlist: Number of lists.
        M: Levels; a vector takes M · nbits bits, its id 8 bytes.
        nbits: Bits per level, 1 to 16; 8 is the fast one. Or those of every level, as in `IndexDRQ`.
        metric: ``faiss.METRIC_L2`` or ``faiss.METRIC_INNER_PRODUCT``.
        by_residual: Whether codes are of residuals, or of the vectors themselves.
        **training: How to train, the options of `TrainingOptions`.

    Raises:
        TypeError, ValueError: Naming the argument and what was expected.
    """

    __module__ = "drqfaiss"  # Where users and pickles find it.

    def __init__(
        self,
        quantizer: faiss.Index,
        d: int,
        nlist: int,
        M: int = 8,
        nbits: int | Sequence[int] = 8,
        metric: int = faiss.METRIC_L2,
        by_residual: bool = True,
        **training: Unpack[TrainingArguments],
    ) -> None:
        _check.instance("quantizer", quantizer, faiss.Index)
        d, nlist = _check.integer("d", d, 1), _check.integer("nlist", nlist, 1)
        M = _check.integer("M", M, 1)
        bits = level_bits(M, nbits, "nbits")
        metric = _check.metric("metric", metric)
        options = TrainingOptions(**training).for_shape(M, max(bits))
        if quantizer.d != d:
            raise ValueError(f"quantizer: got {quantizer.d} dimensions, expected {d}")
        if by_residual and quantizer.metric_type != metric:
            raise ValueError(f"quantizer: got metric {quantizer.metric_type}, expected the index's, {metric}")
        super().__init__(quantizer, d, nlist, bit_widths(bits), metric, stored_search_type(bits))
        use_storable_tables(self.rq)
        self.by_residual = bool(by_residual)
        engine_of(self).adopt(self)
        use_drq_training(self, options)

    @classmethod
    def from_codebooks(
        cls,
        quantizer: faiss.Index,
        codebooks: Codebooks,
        metric: int = faiss.METRIC_L2,
        by_residual: bool = True,
        **training: Unpack[TrainingArguments],
    ) -> IndexIVFDRQ:
        """Return a trained, empty index with a filled coarse quantizer and codebooks, shape (M, K, d).

        A list of arrays (K, d) may have another K for every level.
        ``training`` is as for the class: beam and prefix weights also say how vectors are encoded.
        """
        codebooks, bits = checked_codebooks(codebooks)
        _check.instance("quantizer", quantizer, faiss.Index)
        if not (quantizer.is_trained and quantizer.ntotal):
            raise ValueError("quantizer: got an index without centroids, expected a filled one")
        shape = codebooks.shape[1], quantizer.ntotal, len(bits), bits
        index = cls(quantizer, *shape, metric, by_residual, **training)
        index._take_codebooks(codebooks)
        return index

    @property
    def nprobe(self) -> int:
        """Lists that searches without parameters look into; more than there are: all."""
        return faiss.IndexIVFResidualQuantizer.nprobe.fget(self)

    @nprobe.setter
    def nprobe(self, nprobe: SupportsIndex) -> None:
        faiss.IndexIVFResidualQuantizer.nprobe.fset(self, _check.integer("nprobe", nprobe, 1))

    @takes_tensors
    def add_with_ids(self, x: ArrayLike, ids: ArrayLike, numeric_type: int = FLOAT32) -> None:
        """Encode vectors x, shape (n, d), and add their codes under the given ids, shape (n,)."""
        x, ids = _check.vectors("x", x, self.d), _check.ids("ids", ids)
        if len(ids) != len(x):
            raise ValueError(f"ids: got {len(ids)}, expected {len(x)}, one for each vector")
        _check.finite("x", x)
        self._require_trained()
        engine_of(self).add(self, x, ids)

    @takes_tensors
    def add_sa_codes(self, codes: NDArray[np.uint8], ids: ArrayLike | None = None) -> None:
        """Append codes, shape (n, sa_code_size()), as ``sa_encode`` returns them."""
        codes = _check.codes("codes", codes, self.sa_code_size())
        if ids is not None:
            ids = _check.ids("ids", ids)
            if len(ids) != len(codes):
                raise ValueError(f"ids: got {len(ids)}, expected {len(codes)}, one for each code")
        self._require_trained()
        self._require_lists(codes)
        append_codes(self, codes, ids)

    @takes_tensors
    def search_preassigned(
        self,
        x: ArrayLike,
        k: int,
        Iq: ArrayLike,
        Dq: ArrayLike | None,
        *,
        params: faiss.SearchParameters | None = None,
        D: Floats | None = None,
        I: Ids | None = None,  # noqa: E741
    ) -> tuple[Floats, Ids]:
        """Return what ``search`` finds in given lists: Iq and Dq (n, nprobe), of centroids; −1 is no list.

        Dq are the centroids' distances or products. Products are part of the results if codes are of
        residuals; distances are computed from the centroids, whatever Dq says.
        """
        query = self._query(x, k, params)
        Iq = _check.integers("Iq", Iq, 2)
        nprobe = min(self.nlist, self.nprobe if query.params is None else query.params.nprobe)
        if Iq.shape != (len(query.x), nprobe):
            raise ValueError(f"Iq: got shape {Iq.shape}, expected {(len(query.x), nprobe)}")
        if Iq.size and (Iq.min() < -1 or Iq.max() >= self.nlist):
            raise ValueError(f"Iq: got {Iq.min()} to {Iq.max()}, expected -1 to {self.nlist - 1}")
        if Dq is None:
            if self.by_residual:
                raise ValueError("Dq: got None, expected the centroids' distances: codes are of residuals")
            Dq = np.zeros(Iq.shape, np.float32)
        Dq = _check.floats("Dq", Dq, 2)
        if Dq.shape != Iq.shape:
            raise ValueError(f"Dq: got shape {Dq.shape}, expected {Iq.shape}")
        nearest = self._nearest(query, D, I)
        list_engine().search_preassigned(self, query, Probes(Iq, Dq), nearest)
        return nearest.distances, nearest.ids

    @takes_tensors
    def sa_decode(self, codes: NDArray[np.uint8], x: Floats | None = None) -> Floats:
        """Return the vectors that codes stand for, shape (n, d)."""
        codes = _check.codes("codes", codes, self.sa_code_size())
        self._require_lists(codes)
        return super().sa_decode(codes, x)

    def _untrained(self) -> dict[str, Any]:
        return {
            **super()._untrained(),
            "quantizer": faiss.serialize_index(faiss.downcast_index(self.quantizer)),
            "nlist": self.nlist,
            "settings": {name: getattr(self, name) for name in _SETTINGS},
        }

    def _training_fields(self) -> dict[str, dict[str, Any]]:
        return {
            **super()._training_fields(),
            "cp": numbers_of(self.cp),
            "": {"verbose": self.verbose, "quantizer_trains_alone": self.quantizer_trains_alone},
        }

    def _make_untrained(self, shape: dict[str, Any]) -> None:
        quantizer = faiss.deserialize_index(shape["quantizer"])
        sizes = shape["d"], shape["nlist"], bit_widths(shape["nbits"])
        faiss.IndexIVFResidualQuantizer.__init__(
            self, quantizer, *sizes, shape["metric"], shape["search_type"]
        )
        for name, value in shape["settings"].items():
            setattr(self, name, value)

    def require_enough(self, n: int) -> None:
        """Raise ValueError if n vectors are too few to train on."""
        super().require_enough(n)
        if n < self.nlist:
            raise ValueError(
                f"x: got {n} training vectors, expected at least {self.nlist}, one for each list"
            )

    def _require_lists(self, codes: NDArray[np.uint8]) -> None:
        width = self.coarse_code_size()
        numbers = (codes[:, :width].astype(np.int64) << (8 * np.arange(width))).sum(1)
        if len(numbers) and numbers.max() >= self.nlist:
            raise ValueError(f"codes: got one of list {numbers.max()}, expected 0 to {self.nlist - 1}")

    def _query(self, x: ArrayLike, k: int, params: faiss.SearchParameters | None) -> Query:
        if params is not None:
            _check.instance("params", params, faiss.SearchParametersIVF)
            if isinstance(params, SearchParametersIVFDRQ):
                params = params.with_nprobe(self.nprobe)
            _check.integer("nprobe", params.nprobe, 1)
        return super()._query(x, k, params)

    def _traits(self) -> list[str]:
        return [*super()._traits(), f"nprobe={self.nprobe} of {self.nlist} lists"]
