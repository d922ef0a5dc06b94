"""IndexDRQ, a FAISS index whose code length is chosen at query time."""

import weakref
from typing import Any, SupportsIndex

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from drqfaiss import _check as check
from drqfaiss._core import plugin
from drqfaiss._faiss_abi import address
from drqfaiss.training.options import original_errors, training_options, use_drq_training

FloatArray = NDArray[np.float32]
IdArray = NDArray[np.int64]


def stored_search_type(levels: int) -> int:
    """Return how plain FAISS is to search our codes: with norms from tables, which needs no bytes per vector.

    A single level is decompressed: FAISS keeps no products between codewords then and would abort.
    """
    types = faiss.AdditiveQuantizer
    return types.ST_norm_from_LUT if levels > 1 else types.ST_decompress


class SearchParametersDRQ(faiss.SearchParameters):
    """Search parameters with a code length.

    Args:
        levels: Compare only the first ``levels`` levels of every code; 0 or None takes the index's default.
        sel: Which vectors may be returned.

    Raises:
        TypeError, ValueError: If ``levels`` is no integer or negative, or ``sel`` no selector. Whether the
            index has that many levels is checked at the search.
    """

    _sel: faiss.IDSelector | None = None

    def __init__(self, levels: SupportsIndex | None = 0, sel: faiss.IDSelector | None = None) -> None:
        levels = check.integer("levels", 0 if levels is None else levels, 0)
        super().__init__(sel=sel)
        # FAISS's object has no room for the number, so it is kept by the object's address while that lives.
        weakref.finalize(self, plugin.drop_parameter_levels, address(self)).atexit = False
        plugin.set_parameter_levels(address(self), levels)

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name) and name not in ("this", "referenced_objects"):
            raise AttributeError(f"SearchParametersDRQ has no {name!r}, expected levels or sel")
        super().__setattr__(name, value)

    @property
    def levels(self) -> int:
        """Levels to compare; 0: the index's default."""
        return plugin.parameter_levels(address(self))

    @levels.setter
    def levels(self, levels: SupportsIndex | None) -> None:
        levels = check.integer("levels", 0 if levels is None else levels, 0)
        plugin.set_parameter_levels(address(self), levels)

    @property
    def sel(self) -> faiss.IDSelector | None:
        """Which vectors may be returned; None: all."""
        return self._sel  # the object that was set: FAISS returns one that does not keep the selector alive

    @sel.setter
    def sel(self, sel: faiss.IDSelector | None) -> None:
        if sel is not None:
            check.instance("sel", sel, faiss.IDSelector)
        faiss.SearchParameters.sel.fset(self, sel)
        self._sel = sel

    def __reduce__(self) -> tuple[type, tuple[int, faiss.IDSelector | None]]:
        # A copy has a C++ object, and so levels, of its own. FAISS's selectors can be shared, not pickled.
        return type(self), (self.levels, self.sel)


class IndexDRQ(faiss.IndexResidualQuantizer):
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
        nbits: Bits per level, 1 to 16; 8 is the fast one.
        metric: ``faiss.METRIC_L2`` or ``faiss.METRIC_INNER_PRODUCT``.
        **training: How to train, see ``training.options.training_options``. Training has room for
            M · 2**nbits ≤ 23170; wider levels take codebooks from elsewhere, see ``from_codebooks``.

    Raises:
        TypeError, ValueError: Naming the argument and what was expected.
    """

    def __init__(
        self, d: int, M: int = 8, nbits: int = 8, metric: int = faiss.METRIC_L2, **training: Any
    ) -> None:
        d, M = check.integer("d", d, 1), check.integer("M", M, 1)
        nbits = check.integer("nbits", nbits, 1, 16)
        metric = check.metric("metric", metric)
        options = training_options(M, nbits, **training)
        super().__init__(d, M, nbits, metric, stored_search_type(M))
        plugin.adopt(address(self))
        use_drq_training(self, options)

    @classmethod
    def from_codebooks(cls, codebooks: ArrayLike, metric: int = faiss.METRIC_L2) -> "IndexDRQ":
        """Return a trained, empty index with the given codebooks, shape (M, K, d), K a power of two."""
        codebooks = check.floats("codebooks", codebooks, 3)
        M, K, d = codebooks.shape
        nbits = max(K - 1, 1).bit_length()
        if (1 << nbits) != K:
            raise ValueError(f"codebooks: {K} codewords per level, expected a power of two from 2 to 65536")
        check.finite("codebooks", codebooks)
        index = cls(d, M, nbits, metric)
        faiss.copy_array_to_vector(codebooks.ravel(), index.rq.codebooks)
        index.rq.compute_codebook_tables()
        index.rq.is_trained = index.is_trained = True
        return index

    @property
    def levels(self) -> int:
        """Levels compared by searches that name no number; 0: all. Setting None means 0."""
        return plugin.levels(address(self))

    @levels.setter
    def levels(self, levels: SupportsIndex | None) -> None:
        plugin.set_levels(
            address(self), check.integer("levels", 0 if levels is None else levels, 0, self.rq.M)
        )

    def train(
        self, x: ArrayLike, *, numeric_type: int = faiss.Float32, xq_train: ArrayLike | None = None
    ) -> None:
        """Train codebook and scales on vectors x, shape (n, d), n at least the number of codewords.

        ``numeric_type`` and ``xq_train`` are FAISS's; vectors of any type are converted and queries are not
        needed.
        """
        x = check.vectors("x", x, self.d)
        check.finite("x", x)
        codewords = 1 << max(faiss.vector_to_array(self.rq.nbits).tolist())
        if len(x) < codewords:
            raise ValueError(
                f"x: {len(x)} training vectors, expected at least the {codewords} codewords of a level"
            )
        with original_errors():
            super().train(x)

    def add(self, x: ArrayLike, numeric_type: int = faiss.Float32) -> None:
        """Encode vectors x, shape (n, d), and append their codes."""
        x = check.vectors("x", x, self.d)
        check.finite("x", x)
        self._require_trained()
        super().add(x)

    def search(
        self,
        x: ArrayLike,
        k: int,
        *,
        params: faiss.SearchParameters | None = None,
        D: FloatArray | None = None,
        I: IdArray | None = None,  # noqa: E741
        numeric_type: int = faiss.Float32,
    ) -> tuple[FloatArray, IdArray]:
        """Return squared distances or inner products and ids, shapes (n, k), of the k nearest vectors.

        Rows with fewer than k results end in id −1, as FAISS's do. ``D`` and ``I`` are optional outputs.
        """
        x, k = self._query(x, k, params)
        D = check.output("D", D, (len(x), k), np.float32)
        I = check.output("I", I, (len(x), k), np.int64)  # noqa: E741
        return super().search(x, k, params=params, D=D, I=I)

    def range_search(
        self, x: ArrayLike, thresh: float, *, params: faiss.SearchParameters | None = None
    ) -> tuple[NDArray[np.uint64], FloatArray, IdArray]:
        """Return (lims, D, I): all vectors nearer than thresh, those of query i at lims[i]:lims[i + 1]."""
        x, _ = self._query(x, 1, params)
        return super().range_search(x, check.number("thresh", thresh), params=params)

    def assign(self, x: ArrayLike, k: int, labels: IdArray | None = None) -> IdArray:
        """Return only the ids of ``search(x, k)``."""
        x, k = self._query(x, k, None)
        return super().assign(x, k, labels=check.output("labels", labels, (len(x), k), np.int64))

    def search_and_reconstruct(
        self,
        x: ArrayLike,
        k: int,
        *,
        params: faiss.SearchParameters | None = None,
        D: FloatArray | None = None,
        I: IdArray | None = None,  # noqa: E741
        R: FloatArray | None = None,
    ) -> tuple[FloatArray, IdArray, FloatArray]:
        """Return ``search(x, k)`` and the vectors found, shape (n, k, d), reconstructed from all levels."""
        x, k = self._query(x, k, params)
        D = check.output("D", D, (len(x), k), np.float32)
        I = check.output("I", I, (len(x), k), np.int64)  # noqa: E741
        R = check.output("R", R, (len(x), k, self.d), np.float32)
        return super().search_and_reconstruct(x, k, params=params, D=D, I=I, R=R)

    def sa_encode(self, x: ArrayLike, codes: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return the codes of vectors x, shape (n, code_size), without storing them."""
        x = check.vectors("x", x, self.d)
        check.finite("x", x)
        self._require_trained()
        return super().sa_encode(x, codes=check.output("codes", codes, (len(x), self.code_size), np.uint8))

    def sa_decode(self, codes: NDArray[np.uint8], x: FloatArray | None = None) -> FloatArray:
        """Return the vectors that codes stand for, shape (n, d)."""
        codes = check.codes("codes", codes, self.code_size)
        self._require_trained()
        return super().sa_decode(codes, x=check.output("x", x, (len(codes), self.d), np.float32))

    def add_sa_codes(self, codes: NDArray[np.uint8], ids: None = None) -> None:
        """Append codes, shape (n, code_size), as ``sa_encode`` returns them. Ids need an ``IndexIDMap``."""
        codes = check.codes("codes", codes, self.code_size)
        if ids is not None:
            raise ValueError("ids: an IndexDRQ numbers its vectors itself, expected None")
        self._require_trained()
        super().add_sa_codes(codes)

    def remove_ids(self, x: ArrayLike | faiss.IDSelector) -> int:
        """Remove vectors by id array or selector and return how many; later vectors move down."""
        if not isinstance(x, faiss.IDSelector):
            x = check.ids("x", x)
        return super().remove_ids(x)

    def permute_entries(self, perm: ArrayLike) -> None:
        """Reorder the vectors: the one at i becomes the one that was at perm[i], a permutation of the ids."""
        perm = check.ids("perm", perm)
        if not np.array_equal(np.sort(perm), np.arange(self.ntotal)):
            raise ValueError(f"perm: got {perm}, expected a permutation of 0 to {self.ntotal - 1}")
        super().permute_entries(perm)
        plugin.adopt(address(self))  # drops the cached norms: FAISS moves the codes without a virtual call

    def __getstate__(self) -> dict[str, Any]:
        state = {"levels": self.levels, "training": plugin.training(address(self))}
        if self.is_trained:
            return {**super().__getstate__(), **state}
        # FAISS serializes untrained residual quantizers but cannot read them back.
        nbits = faiss.vector_to_array(self.rq.nbits)
        return {
            **state,
            "shape": (self.d, nbits, self.metric_type, self.rq.search_type, self.rq.max_beam_size),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "shape" in state:
            d, nbits, metric, search_type, beam = state["shape"]
            widths = faiss.UInt64Vector()
            faiss.copy_array_to_vector(nbits, widths)
            faiss.IndexResidualQuantizer.__init__(self, d, widths, metric, search_type)
            self.rq.max_beam_size = beam
        else:
            super().__setstate__(state)
        plugin.adopt(address(self))
        plugin.set_levels(address(self), state["levels"])
        plugin.set_training(address(self), state["training"])

    def _require_trained(self) -> None:
        if not self.is_trained:
            raise RuntimeError("the index is not trained, expected train(x) first")

    def _query(self, x: ArrayLike, k: int, params: faiss.SearchParameters | None) -> tuple[FloatArray, int]:
        x, k = check.vectors("x", x, self.d), check.integer("k", k, 1)
        self._require_trained()
        if params is not None:
            check.instance("params", params, faiss.SearchParameters)
            levels = plugin.parameter_levels(address(params))
            if levels > self.rq.M:
                raise ValueError(f"levels: got {levels}, expected 0 (all) to {self.rq.M}")
        return x, k
