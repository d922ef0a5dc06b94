"""Search parameters with a code length, for flat and for IVF indexes."""

from __future__ import annotations

import weakref
from typing import Any, SupportsIndex

import faiss

from drqfaiss import _check
from drqfaiss._core import plugin
from drqfaiss._indexes.arrays import Depth
from drqfaiss._plugin.layout import address


class _Levels(faiss.SearchParameters):
    """How many levels are compared, and ``sel``; a base class before FAISS's own."""

    _names: tuple[str, ...]  # The names of the parameters, for messages.
    _sel: faiss.IDSelector | None = None

    def _keep_depth(self, depth: Depth) -> None:
        # FAISS's object has no room for the numbers: they are kept by the object's address while that lives.
        weakref.finalize(self, plugin.drop_parameters, address(self)).atexit = False
        plugin.set_parameter_depth(address(self), *depth)

    def _depth(self) -> Depth:
        return Depth(*plugin.parameter_depth(address(self)))

    def _set_depth(self, **changes: int) -> None:
        plugin.set_parameter_depth(address(self), *self._depth()._replace(**changes))

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name) and name not in ("this", "referenced_objects"):
            names = f"{', '.join(self._names[:-1])} or {self._names[-1]}"
            raise AttributeError(f"{type(self).__name__} has no {name!r}, expected {names}")
        super().__setattr__(name, value)

    @property
    def levels(self) -> int:
        """Levels to compare; 0: the index's default."""
        return self._depth().levels

    @levels.setter
    def levels(self, levels: SupportsIndex | None) -> None:
        self._set_depth(levels=_levels(levels))

    @property
    def sel(self) -> faiss.IDSelector | None:
        """Which vectors may be returned; None: all."""
        return self._sel  # FAISS would return an object that does not keep the selector alive.

    @sel.setter
    def sel(self, sel: faiss.IDSelector | None) -> None:
        if sel is not None:
            _check.instance("sel", sel, faiss.IDSelector)
        faiss.SearchParameters.sel.fset(self, sel)
        self._sel = sel

    @property
    def refine_levels(self) -> int:
        """Levels to rank by; 0: the index's default."""
        return self._depth().refine_levels

    @refine_levels.setter
    def refine_levels(self, levels: SupportsIndex | None) -> None:
        self._set_depth(refine_levels=refine_levels_of(levels))

    @property
    def refine_factor(self) -> int | None:
        """How many times as many vectors as results are ranked; None: the index's default."""
        return self._depth().refine_factor or None

    @refine_factor.setter
    def refine_factor(self, factor: SupportsIndex | None) -> None:
        self._set_depth(refine_factor=refine_factor_of(factor))

    def __repr__(self) -> str:
        values = ((name, getattr(self, name)) for name in self._names)
        given = (f"{name}={value!r}" for name, value in values if value not in (0, None))
        return f"{type(self).__name__}({', '.join(given)})"

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        # A copy has a C++ object, and so levels, of its own. FAISS's selectors can be shared, not pickled.
        return type(self), tuple(getattr(self, name) for name in self._names)


def _levels(levels: SupportsIndex | None) -> int:
    return _check.integer("levels", 0 if levels is None else levels, 0)


def _nprobe(nprobe: SupportsIndex | None) -> int | None:
    return None if nprobe is None else _check.integer("nprobe", nprobe, 1)


def refine_levels_of(levels: SupportsIndex | None, most: int | None = None) -> int:
    """Return levels to rank by as a `Depth` has them; raise TypeError or ValueError for bad ones."""
    return _check.integer("refine_levels", 0 if levels is None else levels, 0, most)


def refine_factor_of(factor: SupportsIndex | None) -> int:
    """Return a factor as a `Depth` has it; raise TypeError or ValueError for a bad one."""
    return 0 if factor is None else _check.integer("refine_factor", factor, 1, 2**31 - 1)


def _depth_of(
    levels: SupportsIndex | None, refine_levels: SupportsIndex | None, refine_factor: SupportsIndex | None
) -> Depth:
    return Depth(_levels(levels), refine_levels_of(refine_levels), refine_factor_of(refine_factor))


class SearchParametersDRQ(_Levels, faiss.SearchParameters):
    """Search parameters with a code length.

    With a ``refine_factor`` a search has two stages: of the k · refine_factor nearest by the first ``levels``
    levels it returns the k nearest by the first ``refine_levels``, with their distances by these.

    Args:
        levels: Compare only the first ``levels`` levels of every code; 0 or None takes the index's default.
        sel: Which vectors may be returned.
        refine_levels: Levels to rank by; 0 or None takes the index's default, which is all.
        refine_factor: How many times as many vectors as results are ranked, at least 1; None takes the
            index's default, which is no second stage.

    Raises:
        TypeError, ValueError: An argument is not as above. Whether the index has that many levels is checked
            at the search.
    """

    __module__ = "drqfaiss"  # Where users and pickles find it.

    _names = ("levels", "sel", "refine_levels", "refine_factor")

    def __init__(
        self,
        levels: SupportsIndex | None = 0,
        sel: faiss.IDSelector | None = None,
        refine_levels: SupportsIndex | None = 0,
        refine_factor: SupportsIndex | None = None,
    ) -> None:
        depth = _depth_of(levels, refine_levels, refine_factor)
        super().__init__(sel=sel)
        self._keep_depth(depth)


class SearchParametersIVFDRQ(_Levels, faiss.SearchParametersIVF):
    """Search parameters of an IVF index with a code length.

    With a ``refine_factor`` a search has two stages, as `SearchParametersDRQ` says: of all that is in the
    probed lists, the k · refine_factor nearest by the first ``levels`` levels are ranked.

    Args:
        levels: Compare only the first ``levels`` levels of every code; 0 or None takes the index's default.
        nprobe: Lists to look into; more than there are: all. As with all of FAISS's search parameters, the
            index's own nprobe does not count when parameters are given, unless this is None. Inside other
            indexes (IDMap, PreTransform, …) that holds with the plug-in; FAISS alone takes None for 1.
        sel: Which vectors may be returned.
        max_codes: Vectors to look at for each query, at most; 0: all of the probed lists.
        quantizer_params: Search parameters for the coarse quantizer.
        refine_levels: Levels to rank by; 0 or None takes the index's default, which is all.
        refine_factor: How many times as many vectors as results are ranked, at least 1; None takes the
            index's default, which is no second stage.

    Raises:
        TypeError, ValueError: Naming the argument and what was expected. Whether the index has that many
            levels and lists is checked at the search.
    """

    __module__ = "drqfaiss"  # Where users and pickles find it.

    _names = ("levels", "nprobe", "sel", "max_codes", "quantizer_params", "refine_levels", "refine_factor")
    _quantizer_params: faiss.SearchParameters | None = None
    _nprobe_of_index: bool = False

    def __init__(
        self,
        levels: SupportsIndex | None = 0,
        nprobe: SupportsIndex | None = 1,
        sel: faiss.IDSelector | None = None,
        max_codes: SupportsIndex = 0,
        quantizer_params: faiss.SearchParameters | None = None,
        refine_levels: SupportsIndex | None = 0,
        refine_factor: SupportsIndex | None = None,
    ) -> None:
        depth = _depth_of(levels, refine_levels, refine_factor)
        lists = _nprobe(nprobe)
        max_codes = _check.integer("max_codes", max_codes, 0)
        super().__init__(sel=sel, nprobe=lists or 1, max_codes=max_codes, quantizer_params=quantizer_params)
        self._keep_depth(depth)
        self._leave_nprobe(lists is None)

    @property
    def nprobe(self) -> int | None:
        """Lists to look into; None: the index's default."""
        return None if self._nprobe_of_index else faiss.SearchParametersIVF.nprobe.fget(self)

    @nprobe.setter
    def nprobe(self, nprobe: SupportsIndex | None) -> None:
        lists = _nprobe(nprobe)
        faiss.SearchParametersIVF.nprobe.fset(self, lists or 1)
        self._leave_nprobe(lists is None)

    def _leave_nprobe(self, to_index: bool) -> None:
        self._nprobe_of_index = to_index
        plugin.leave_nprobe(address(self), to_index)

    def with_nprobe(self, nprobe: int) -> SearchParametersIVFDRQ:
        """Return these parameters; where they leave nprobe to the index, with the number given."""
        if not self._nprobe_of_index:
            return self
        kept = {name: getattr(self, name) for name in self._names}
        chosen = SearchParametersIVFDRQ(**{**kept, "nprobe": nprobe})
        for name in ("max_lists_num", "max_empty_result_buckets"):  # What FAISS's class has besides.
            if hasattr(self, name):
                setattr(chosen, name, getattr(self, name))
        return chosen

    @property
    def quantizer_params(self) -> faiss.SearchParameters | None:
        """Search parameters for the coarse quantizer."""
        return self._quantizer_params  # As for `sel`, the object that was set.

    @quantizer_params.setter
    def quantizer_params(self, parameters: faiss.SearchParameters | None) -> None:
        if parameters is not None:
            _check.instance("quantizer_params", parameters, faiss.SearchParameters)
        faiss.SearchParametersIVF.quantizer_params.fset(self, parameters)
        self._quantizer_params = parameters
