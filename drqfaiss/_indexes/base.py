"""What IndexDRQ and IndexIVFDRQ have in common: levels, and checks of arguments."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from drqfaiss import _check
from drqfaiss._core import plugin
from drqfaiss._indexes.arrays import Codebooks, Depth, Floats, Ids, Nearest, Query
from drqfaiss._indexes.engines import engine_of
from drqfaiss._indexes.parameters import refine_factor_of, refine_levels_of
from drqfaiss._indexes.tensors import takes_tensors
from drqfaiss._indexes.training import set_training
from drqfaiss._least_squares.options import require_vectors
from drqfaiss._plugin.layout import address

FLOAT32: int = getattr(faiss, "Float32", 0)  # FAISS names it from 1.12 on.


# Bytes of the products of codewords that plain FAISS may take norms from. Larger ones leave the caches: at 16
# levels of 8 bits (30 MiB) decompressing codes takes it half the time.
MAX_TABLE_BYTES = 2**24
_TRAINING_FIELDS = (
    "train_type",
    "niter_codebook_refine",
    "max_beam_size",
    "use_beam_LUT",
    "approx_topk_mode",
    "max_mem_distances",
    "verbose",
)  # Fields of a faiss.ResidualQuantizer that say how it trains and encodes.


def stored_search_type(bits: Sequence[int]) -> int:
    """Return how plain FAISS is to search our codes: with norms from tables, which needs no bytes per vector.

    A single level is decompressed: FAISS keeps no products between codewords then and would abort. So are
    levels whose products would take more than 16 MiB, see `use_storable_tables`.
    """
    types = faiss.AdditiveQuantizer
    return types.ST_norm_from_LUT if stored_table_bytes(bits) else types.ST_decompress


def stored_table_bytes(bits: Sequence[int]) -> int:
    """Return the bytes of products of codewords that FAISS keeps for levels of our codes; 0: none."""
    codewords = [1 << own for own in bits]
    table_bytes = 4 * (sum(codewords) ** 2 - sum(K * K for K in codewords)) // 2
    return table_bytes if table_bytes <= MAX_TABLE_BYTES else 0


def use_storable_tables(rq: faiss.ResidualQuantizer) -> None:
    """Let plain FAISS do without large tables, which no search of ours uses.

    Where the products of all codewords of two levels take more than 16 MiB, FAISS decompresses codes, and
    neither computes the products when it trains nor when it reads a file: a flag says so, which files keep.
    """
    rq.search_type = stored_search_type(faiss.vector_to_array(rq.nbits).tolist())
    if rq.M > 1 and rq.search_type == faiss.AdditiveQuantizer.ST_decompress:
        rq.train_type |= faiss.ResidualQuantizer.Skip_codebook_tables


def numbers_of(struct: Any) -> dict[str, bool | int | float]:
    """Return all fields of a FAISS struct that are numbers."""
    kind = type(struct)
    fields = [name for name in dir(kind) if isinstance(getattr(kind, name, None), property)]
    values = {name: getattr(struct, name) for name in fields if name != "thisown"}
    return {name: value for name, value in values.items() if isinstance(value, bool | int | float)}


def set_fields(struct: Any, values: Mapping[str, bool | int | float]) -> None:
    """Set those of the fields that the struct has: another version of FAISS may know fewer."""
    for name, value in values.items():
        if hasattr(struct, name):
            setattr(struct, name, value)


def checked_codebooks(codebooks: Codebooks) -> tuple[Floats, tuple[int, ...]]:
    """Return codebooks, shape (M, K, d) or M of (K, d), as one float32 array (Σ K, d), and bits by level."""
    each = codebooks if isinstance(codebooks, list) else _check.floats("codebooks", codebooks, 3)
    levels = [_check.floats("codebooks", level, 2) for level in each]
    if not levels or len({level.shape[1] for level in levels}) > 1:
        shapes = [level.shape for level in levels]
        raise ValueError(f"codebooks: got shapes {_check.shown(shapes)}, expected (K, d) of every level")
    bits = []
    for level in levels:
        K = len(level)
        bits.append(max(K - 1, 1).bit_length())
        if (1 << bits[-1]) != K:
            raise ValueError(
                f"codebooks: got {K} codewords per level, expected a power of two from 2 to 65536"
            )
        _check.finite("codebooks", level)
    return np.concatenate(levels), tuple(bits)


def bit_widths(bits: ArrayLike) -> faiss.UInt64Vector:
    """Return bits by level, shape (M,), as FAISS's constructors take them."""
    widths = faiss.UInt64Vector()
    faiss.copy_array_to_vector(np.array(bits, np.uint64), widths)
    return widths


class LevelsIndex(faiss.Index, ABC):
    """Methods of an index with levels; a base class before FAISS's own, which does the work."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(self._traits())}>"

    def _traits(self) -> list[str]:
        """Return what tells an index from others, in words."""
        metric = _check.METRIC_NAMES.get(self.metric_type, str(self.metric_type))
        bits = "/".join(map(str, sorted(set(faiss.vector_to_array(self.rq.nbits).tolist()))))
        searched = [
            f"{name}={value}"
            for name in ("levels", "refine_levels", "refine_factor")
            if (value := getattr(self, name))
        ]
        filled = f"{self.ntotal} vectors" if self.is_trained else "not trained"
        return [filled, f"d={self.d}", metric, f"{self.rq.M} levels of {bits} bits", *searched]

    @property
    def levels(self) -> int:
        """Levels compared by searches that name no number; 0: all. Setting None means 0."""
        return engine_of(self).depth(self).levels

    @levels.setter
    def levels(self, levels: SupportsIndex | None) -> None:
        self._set_depth(levels=_check.integer("levels", 0 if levels is None else levels, 0, self.rq.M))

    @property
    def all_levels(self) -> int:
        """Levels of a code, wherever they are."""
        return int(self.rq.M)

    @property
    def refine_levels(self) -> int:
        """Levels that searches rank by which name no number, see `refine_factor`; 0: all."""
        return engine_of(self).depth(self).refine_levels

    @refine_levels.setter
    def refine_levels(self, levels: SupportsIndex | None) -> None:
        self._set_depth(refine_levels=refine_levels_of(levels, self.all_levels))

    @property
    def refine_factor(self) -> int | None:
        """How many times as many vectors as results a search ranks that names no number.

        None: a search has no second stage. With a factor, of the k · refine_factor nearest by the first
        ``levels`` levels the k nearest by the first ``refine_levels`` are returned. Range searches compare
        ``levels`` alone.
        """
        return engine_of(self).depth(self).refine_factor or None

    @refine_factor.setter
    def refine_factor(self, factor: SupportsIndex | None) -> None:
        self._set_depth(refine_factor=refine_factor_of(factor))

    def _set_depth(self, **changes: int) -> None:
        """Change some of what searches do that name no numbers."""
        engine = engine_of(self)
        engine.set_depth(self, engine.depth(self)._replace(**changes))

    @takes_tensors
    def train(self, x: ArrayLike, *, numeric_type: int = FLOAT32, xq_train: ArrayLike | None = None) -> None:
        """Train codebook and scales on vectors x, shape (n, d), n at least the number of codewords.

        An index that has vectors is not trained again: RuntimeError.

        ``numeric_type`` and ``xq_train`` are FAISS's; vectors of any type are converted and queries are not
        needed.
        """
        x = _check.vectors("x", x, self.d)
        _check.finite("x", x)
        self._require_whole("train")
        if self.ntotal:
            raise RuntimeError(
                f"the index has {self.ntotal} vectors, whose codes another training would make "
                "meaningless: expected reset() first"
            )
        self.require_enough(len(x))
        engine_of(self).train(self, x)

    @takes_tensors
    def add(self, x: ArrayLike, numeric_type: int = FLOAT32) -> None:
        """Encode vectors x, shape (n, d), and append their codes."""
        x = _check.vectors("x", x, self.d)
        _check.finite("x", x)
        self._require_trained()
        engine_of(self).add(self, x, None)

    @takes_tensors
    def search(
        self,
        x: ArrayLike,
        k: int,
        *,
        params: faiss.SearchParameters | None = None,
        D: Floats | None = None,
        I: Ids | None = None,  # noqa: E741
        numeric_type: int = FLOAT32,
    ) -> tuple[Floats, Ids]:
        """Return squared distances or inner products and ids, shapes (n, k), of the k nearest vectors.

        Rows with fewer than k results end in id −1, as FAISS's do. ``D`` and ``I`` are optional outputs.
        """
        query = self._query(x, k, params)
        nearest = self._nearest(query, D, I)
        engine_of(self).search(self, query, nearest)
        return nearest.distances, nearest.ids

    @takes_tensors
    def range_search(
        self, x: ArrayLike, thresh: float, *, params: faiss.SearchParameters | None = None
    ) -> tuple[NDArray[np.uint64], Floats, Ids]:
        """Return (lims, D, I): all vectors nearer than thresh, those of query i at lims[i]:lims[i + 1]."""
        query = self._query(x, 1, params)
        return engine_of(self).range_search(self, query.x, _check.float32("thresh", thresh), query.params)

    @takes_tensors
    def assign(self, x: ArrayLike, k: int, labels: Ids | None = None) -> Ids:
        """Return only the ids of ``search(x, k)``."""
        query = self._query(x, k, None)
        nearest = self._nearest(query, None, labels, "labels")
        engine_of(self).search(self, query, nearest)
        return nearest.ids

    @takes_tensors
    def search_and_reconstruct(
        self,
        x: ArrayLike,
        k: int,
        *,
        params: faiss.SearchParameters | None = None,
        D: Floats | None = None,
        I: Ids | None = None,  # noqa: E741
        R: Floats | None = None,
    ) -> tuple[Floats, Ids, Floats]:
        """Return ``search(x, k)`` and the vectors found, shape (n, k, d), reconstructed from all levels."""
        query = self._query(x, k, params)
        nearest = self._nearest(query, D, I)
        R = _check.output("R", R, (*nearest.ids.shape, self.d), np.float32)
        engine_of(self).search_and_reconstruct(self, query, nearest, R)
        return *nearest, R

    @takes_tensors
    def sa_encode(self, x: ArrayLike, codes: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return the codes of vectors x, shape (n, sa_code_size()), without storing them."""
        x = _check.vectors("x", x, self.d)
        _check.finite("x", x)
        self._require_trained()
        codes = _check.output("codes", codes, (len(x), self.sa_code_size()), np.uint8)
        engine_of(self).sa_encode(self, x, codes)
        return codes

    @takes_tensors
    def sa_decode(self, codes: NDArray[np.uint8], x: Floats | None = None) -> Floats:
        """Return the vectors that codes stand for, shape (n, d)."""
        codes = _check.codes("codes", codes, self.sa_code_size())
        self._require_trained()
        if reason := engine_of(self).why_not(self):  # FAISS reads codewords without a check.
            raise RuntimeError(f"the index cannot decode: {reason}")
        if self.code_size != self.rq.code_size:
            raise RuntimeError(f"code_size is {self.code_size}, expected {self.rq.code_size}")
        x = _check.output("x", x, (len(codes), self.d), np.float32)
        self.sa_decode_c(len(codes), faiss.swig_ptr(codes), faiss.swig_ptr(x))
        return x

    @takes_tensors
    def remove_ids(self, x: ArrayLike | faiss.IDSelector) -> int:
        """Remove vectors by id array or selector and return how many; in a flat index ids move down."""
        self._require_whole("remove_ids")
        if not isinstance(x, faiss.IDSelector):
            ids = _check.ids("x", x)
            hashed = isinstance(self, faiss.IndexIVF) and self.direct_map.type == faiss.DirectMap.Hashtable
            kind = faiss.IDSelectorArray if hashed else faiss.IDSelectorBatch
            x = kind(len(ids), faiss.swig_ptr(ids))
        return self.remove_ids_c(x)

    def __getstate__(self) -> dict[str, Any]:
        engine = engine_of(self)
        state: dict[str, Any] = {"depth": tuple(engine.depth(self)), "training": engine.training(self)}
        state["fields"] = self._training_fields()
        # FAISS serializes untrained residual quantizers but cannot read them back.
        return {**state, **(super().__getstate__() if self.is_trained else {"untrained": self._untrained()})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "untrained" in state:
            self._make_untrained(state["untrained"])
        else:
            super().__setstate__(state)
        engine_of(self).adopt(self)
        # Older versions pickled levels alone.
        engine_of(self).set_depth(self, Depth(*state.get("depth", (state.get("levels", 0),))))
        set_training(self, state["training"])
        for name, values in state.get("fields", {}).items():  # Older versions pickled none.
            set_fields(self._part(name), values)

    def _untrained(self) -> dict[str, Any]:
        """Return what `_make_untrained` needs to make an index like this one."""
        return {
            "d": self.d,
            "nbits": faiss.vector_to_array(self.rq.nbits),
            "metric": self.metric_type,
            "search_type": self.rq.search_type,
        }

    def _training_fields(self) -> dict[str, dict[str, Any]]:
        """Return what says how the index trains, by its part: FAISS's files do not keep it."""
        rq = {name: getattr(self.rq, name) for name in _TRAINING_FIELDS}
        return {"": {"verbose": self.verbose}, "rq": rq, "rq.cp": numbers_of(self.rq.cp)}

    def _part(self, name: str) -> Any:
        """Return the part that `_training_fields` calls so."""
        return functools.reduce(getattr, filter(None, name.split(".")), self)

    @abstractmethod
    def _make_untrained(self, shape: dict[str, Any]) -> None:
        """Call FAISS's constructor with what `_untrained` returned."""

    @staticmethod
    def _nearest(query: Query, D: Floats | None, ids: Ids | None, name: str = "I") -> Nearest:
        shape = len(query.x), query.k
        return Nearest(_check.output("D", D, shape, np.float32), _check.output(name, ids, shape, np.int64))

    def _take_codebooks(self, codebooks: Floats) -> None:
        faiss.copy_array_to_vector(codebooks.ravel(), self.rq.codebooks)
        if not self.rq.train_type & faiss.ResidualQuantizer.Skip_codebook_tables:
            self.rq.compute_codebook_tables()
        self.rq.is_trained = self.is_trained = True

    def require_enough(self, n: int) -> None:
        """Raise ValueError if n vectors are too few to train on."""
        require_vectors(n, max(faiss.vector_to_array(self.rq.nbits).tolist()))

    def _require_whole(self, what: str) -> None:
        """Raise RuntimeError for a change that an index cannot make; its levels may not all be in memory."""

    def _require_trained(self) -> None:
        if not self.is_trained:
            raise RuntimeError("the index is not trained, expected train(x) first")

    def _check_depth(self, asked: Depth) -> None:
        """Raise ValueError for parameters that ask for more levels than there are, or rank by fewer."""
        asked.or_else(engine_of(self).depth(self)).check(self.rq.M, self.all_levels)

    def _query(self, x: ArrayLike, k: int, params: faiss.SearchParameters | None) -> Query:
        x, k = _check.vectors("x", x, self.d), _check.integer("k", k, 1)
        self._require_trained()
        if params is not None:
            _check.instance("params", params, faiss.SearchParameters)
            self._check_depth(Depth(*plugin.parameter_depth(address(params))))
        return Query(x, k, params)
