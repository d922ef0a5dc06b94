"""What searches do that pass no parameters, of an index that may be inside others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import faiss

from drqfaiss import _check
from drqfaiss._indexes.arrays import Depth
from drqfaiss._indexes.base import LevelsIndex
from drqfaiss._indexes.engines import IN_FAISS, engine_of
from drqfaiss._indexes.nested import as_drq, indexes_in
from drqfaiss._indexes.search_options import SearchOptions

MOST = 2**31 - 1  # Greater numbers are mistakes.


class Setting(SearchOptions):
    """Of the searches of an index; None leaves what the index has.

    Attributes:
        levels: levels that are scanned; 0: all.
        refine_levels: levels that a shortlist is ranked by; 0: all.
        refine_factor: how many times as many vectors as results are ranked; 0: no second stage.
        nprobe: inverted lists that are looked into.
        k_factor: how many times as many candidates as results an ``IndexRefine`` ranks.
    """

    __slots__ = ()

    def check(self, index: faiss.Index) -> None:
        """Require that the index can search so.

        Raises:
            TypeError, ValueError: naming what it cannot do.
        """
        self._changes(index)

    def apply(self, index: faiss.Index) -> None:
        """Let the index search so from now on; what it cannot do changes nothing.

        Raises:
            TypeError, ValueError: as `check`.
        """
        for change in self._changes(index):
            change()

    @property
    def depth(self) -> dict[str, int]:
        """What is said about levels."""
        return {name: value for name in Depth._fields if (value := getattr(self, name)) is not None}

    def _changes(self, index: faiss.Index) -> list[Callable[[], None]]:
        changes: list[Callable[[], None]] = []
        if self.depth:
            changes += [_depth_change(quantizer, self.depth) for quantizer in _with_levels(index, self.depth)]
        if self.nprobe is not None:
            changes += [_change(ivf, "nprobe", _lists(ivf, self.nprobe)) for ivf in _inverted(index)]
        if self.k_factor is not None:
            factor = _factor(self.k_factor)
            changes += [_change(refine, "k_factor", factor) for refine in _refining(index)]
        return changes


def drq_indexes(index: faiss.Index) -> list[LevelsIndex]:
    """Return the indexes with ``levels`` in an index that drqfaiss built or read."""
    found = map(as_drq, indexes_in(index, searched=True))
    return [quantizer for quantizer in found if isinstance(quantizer, LevelsIndex)]


def inverted_indexes(index: faiss.Index) -> list[faiss.IndexIVF]:
    """Return the indexes with ``nprobe`` that a search goes through."""
    return [part for part in indexes_in(index, searched=True) if isinstance(part, faiss.IndexIVF)]


def refining_indexes(index: faiss.Index) -> list[faiss.IndexRefine]:
    """Return the indexes with ``k_factor`` that a search goes through."""
    return [part for part in indexes_in(index, searched=True) if isinstance(part, faiss.IndexRefine)]


def thorough(index: faiss.Index) -> Setting:
    """Return the setting of a search that looks at all levels in all inverted lists.

    In one stage, unless some of the levels can only rank: then every vector is ranked.
    """
    found, lists = drq_indexes(index), inverted_indexes(index)
    ranked = any(quantizer.all_levels > quantizer.rq.M for quantizer in found)
    return Setting(
        levels=0 if found else None,
        refine_factor=(MOST if ranked else 0) if found else None,
        nprobe=min(ivf.nlist for ivf in lists) if lists else None,
    )


@contextmanager
def searched_with(index: faiss.Index, setting: Setting) -> Iterator[None]:
    """Apply a setting for a ``with`` block.

    Raises:
        TypeError, ValueError: as `Setting.check`; nothing is changed.
    """
    before = [_depth_change(quantizer, {}) for quantizer in drq_indexes(index)]
    before += [_change(ivf, "nprobe", ivf.nprobe) for ivf in inverted_indexes(index)]
    before += [_change(refine, "k_factor", refine.k_factor) for refine in refining_indexes(index)]
    setting.apply(index)
    try:
        yield
    finally:
        for change in before:
            change()


def _with_levels(index: faiss.Index, depth: dict[str, int]) -> list[LevelsIndex]:
    """Return the indexes that these levels are for."""
    found, name = drq_indexes(index), next(iter(depth))
    if not found:
        raise ValueError(f"{name}: got {type(index).__name__}, expected an index with levels to choose")
    if found[0] is not index and any(engine_of(quantizer) is not IN_FAISS for quantizer in found):
        raise ValueError(
            f"{name}: got {type(index).__name__}, expected no index around it: without the plug-in, what is "
            "inside others compares all levels"
        )
    return found


def _depth_change(quantizer: LevelsIndex, changes: dict[str, int]) -> Callable[[], None]:
    """Return what sets levels; checked, all together, where there are any."""
    engine = engine_of(quantizer)
    depth = engine.depth(quantizer)
    if changes:
        checked = {name: _check.integer(name, value, 0, MOST) for name, value in changes.items()}
        depth = depth._replace(**checked)
        depth.check(quantizer.rq.M, quantizer.all_levels)
    return lambda: engine.set_depth(quantizer, depth)


def _inverted(index: faiss.Index) -> list[faiss.IndexIVF]:
    found = inverted_indexes(index)
    if not found:
        raise ValueError(f"nprobe: got {type(index).__name__}, expected an index with inverted lists")
    return found


def _lists(ivf: faiss.IndexIVF, nprobe: int) -> int:
    return _check.integer("nprobe", nprobe, 1, ivf.nlist)


def _refining(index: faiss.Index) -> list[faiss.IndexRefine]:
    found = refining_indexes(index)
    if not found:
        raise ValueError(f"k_factor: got {type(index).__name__}, expected an index with refinement")
    return found


def _factor(value: float) -> float:
    factor = _check.number("k_factor", value)
    if not 1 <= factor <= MOST:
        raise ValueError(f"k_factor: got {factor:g}, expected at least 1")
    return factor


def _change(part: faiss.Index, name: str, value: float) -> Callable[[], None]:
    return lambda: setattr(part, name, value)
