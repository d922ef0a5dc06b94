"""What a search asks a shard for, as parameters of its index, and ids as FAISS's selectors."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss import _check
from drqfaiss._indexes.arrays import Depth
from drqfaiss._indexes.parameters import SearchParametersDRQ, SearchParametersIVFDRQ
from drqfaiss._indexes.settings import MOST, drq_indexes, inverted_indexes

Chosen: TypeAlias = range | NDArray[np.int64]  # Ids, in order or one by one.


class Query(NamedTuple):
    """What a search asks for besides the nearest; None leaves what the index has.

    Attributes:
        levels: levels of the codes to compare, 0: all.
        refine_levels: levels to rank a shortlist by, 0: all.
        refine_factor: how many times as many vectors as results are ranked.
        nprobe: inverted lists to look into.
        only: the ids that may be found.
        without: ids that may not.
    """

    levels: int | None = None
    refine_levels: int | None = None
    refine_factor: int | None = None
    nprobe: int | None = None
    only: Chosen | None = None
    without: Chosen | None = None

    def parameters(self, index: faiss.Index, first_id: int) -> faiss.SearchParameters | None:
        """Return FAISS's parameters for an index whose own ids start at 0 for this one.

        Raises:
            TypeError, ValueError: the index cannot search so; names the argument.
        """
        if all(value is None for value in self):
            return None
        if (transform := _transform_in(index)) is not None:
            return self._behind(index, transform, first_id)
        sel, ivf, depth = self._selector(first_id), self._lists(index), self._depth(index)
        if ivf is None:
            return SearchParametersDRQ(sel=sel, **depth) if depth else faiss.SearchParameters(sel=sel)
        if depth:
            return SearchParametersIVFDRQ(nprobe=self.nprobe or ivf.nprobe, sel=sel, **depth)
        return faiss.SearchParametersIVF(nprobe=self.nprobe or ivf.nprobe, sel=sel)

    def _behind(
        self, index: faiss.Index, transform: faiss.IndexPreTransform, first_id: int
    ) -> faiss.SearchParameters:
        """Return the parameters of what is behind a transform, as FAISS wants them."""
        if index is not transform and (self.only is not None or self.without is not None):
            name = "only" if self.only is not None else "without"
            raise ValueError(f"{name}: got ids, expected none: FAISS names none behind IDMap and transform")
        inner = self.parameters(faiss.downcast_index(transform.index), first_id)
        return faiss.SearchParametersPreTransform(index_params=inner)

    def _lists(self, index: faiss.Index) -> faiss.IndexIVF | None:
        found = inverted_indexes(index)
        if self.nprobe is None:
            return found[0] if found else None
        if not found:
            raise ValueError(f"nprobe: got {type(index).__name__}, expected an index with inverted lists")
        _check.integer("nprobe", self.nprobe, 1, found[0].nlist)
        return found[0]

    def _depth(self, index: faiss.Index) -> dict[str, Any]:
        """Return levels and refinement as the parameters of our classes have them; empty for others."""
        found = drq_indexes(index)
        named = {name: value for name, value in self._asdict().items() if name in Depth._fields}
        given = {name: value for name, value in named.items() if value is not None}
        if not found:
            if given:
                name = next(iter(given))
                raise ValueError(
                    f"{name}: got {type(index).__name__}, expected an index with levels to choose"
                )
            return {}
        depth = Depth(
            levels=_check.integer("levels", given.get("levels", 0), 0, MOST),
            refine_levels=_check.integer("refine_levels", given.get("refine_levels", 0), 0, MOST),
            refine_factor=_check.integer("refine_factor", given.get("refine_factor", 1), 1, MOST),
        )
        depth.check(found[0].rq.M, found[0].all_levels)
        return {
            "levels": found[0].rq.M if self.levels == 0 else depth.levels,
            "refine_levels": found[0].all_levels if self.refine_levels == 0 else depth.refine_levels,
            "refine_factor": given.get("refine_factor"),
        }

    def _selector(self, first_id: int) -> faiss.IDSelector | None:
        only = None if self.only is None else selector(self.only, first_id)
        if self.without is None:
            return only
        allowed = faiss.IDSelectorNot(selector(self.without, first_id))
        return allowed if only is None else faiss.IDSelectorAnd(only, allowed)


def chosen(name: str, ids: Any) -> Chosen:
    """Return ids as a selector takes them: a range of step 1, or an array.

    Raises:
        TypeError, ValueError: they are none.
    """
    if isinstance(ids, range) and ids.step == 1:
        return ids
    return _check.ids(name, [*ids] if isinstance(ids, range | set | frozenset) else ids)


def selector(ids: Chosen, first_id: int) -> faiss.IDSelector:
    """Return FAISS's selector of ids, for an index whose own start at 0 for the first."""
    own = shifted(ids, -first_id)
    return (
        faiss.IDSelectorRange(own.start, own.stop) if isinstance(own, range) else faiss.IDSelectorBatch(own)
    )


def shifted(ids: Chosen, by: int) -> Chosen:
    """Return ids that are greater by a number."""
    return range(ids.start + by, ids.stop + by) if isinstance(ids, range) else ids + by


def _transform_in(index: faiss.Index) -> faiss.IndexPreTransform | None:
    """Return the transform in front of an index, also inside a map of ids."""
    inner = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexIDMap) else index
    return inner if isinstance(inner, faiss.IndexPreTransform) else None
