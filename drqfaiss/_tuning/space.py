"""Which settings an index is tuned among."""

from __future__ import annotations

from itertools import product

import faiss
import numpy as np
from numpy.typing import NDArray

from drqfaiss._indexes.base import LevelsIndex
from drqfaiss._indexes.choices import FACTORS, factor_choices, level_choices, spread
from drqfaiss._indexes.settings import Setting, drq_indexes, inverted_indexes, refining_indexes

RANKING = 300  # Levels are scanned in the time in which one of a candidate is looked up.
SHORT = 16  # A code of fewer levels is ranked by all of them.
MOST_CANDIDATES = FACTORS[-1]  # As a multiple of the results, in the first of all stages.


class Space:
    """Settings of an index, ordered by how thorough they are.

    Attributes:
        settings: all of them.
        points: their coordinates, (settings, axes): no less in each is no less thorough.
        effort: a guess at how long a search takes with each, in no unit.
    """

    def __init__(self, index: faiss.Index, k: int) -> None:
        quantizers = drq_indexes(index)
        self._only_rank = any(quantizer.all_levels > quantizer.rq.M for quantizer in quantizers)
        depths = _depths(quantizers, k, index.ntotal)
        lists = [spread(min(ivf.nlist for ivf in inverted_indexes(index)))] if inverted_indexes(index) else []
        factors = [factor_choices(k, index.ntotal)] if refining_indexes(index) else []
        others = [*product(*lists, *factors)]
        names = [*["nprobe"] * len(lists), *["k_factor"] * len(factors)]
        self.settings, points = [], []
        for depth, point in depths:
            for values in others:
                setting = depth._replace(**dict(zip(names, values, strict=True)))
                if (setting.refine_factor or 1) * (setting.k_factor or 1) <= MOST_CANDIDATES:
                    self.settings.append(setting)
                    points.append((*point, *values))
        self.points: NDArray[np.int64] = np.array(points, np.int64)
        efforts = np.array([_efforts(setting, index, k) for setting in self.settings])
        self.effort: NDArray[np.float64] = efforts.sum(axis=1)
        self._ranking: NDArray[np.float64] = efforts[:, 1] / self.effort

    @property
    def most_thorough(self) -> int:
        """The row of the setting that finds most: in one stage, unless some levels can only rank."""
        rows = range(len(self.settings))
        one_stage = [row for row in rows if not (self.settings[row].refine_factor or self._only_rank)]
        return max(one_stage or rows, key=lambda row: tuple(self.points[row]))

    @property
    def mostly_ranking(self) -> int:
        """The row of a cheap setting whose search mostly ranks: it tells what that costs."""
        mostly = np.flatnonzero(self._ranking >= min(0.8, self._ranking.max()))
        return int(mostly[np.argmin(self.effort[mostly])])


def _efforts(setting: Setting, index: faiss.Index, k: int) -> tuple[float, float]:
    """Return how many levels are scanned, and those of shortlists, each of which counts more."""
    lists = inverted_indexes(index)
    share = (setting.nprobe or 1) / min(ivf.nlist for ivf in lists) if lists else 1
    candidates = k * (setting.k_factor or 1)
    ranked = candidates * (setting.refine_factor or 0) * (setting.refine_levels or 0)
    scanned = (setting.levels or 1) * share * index.ntotal
    return scanned, RANKING * (ranked + (candidates if setting.k_factor else 0))


def _depths(
    quantizers: list[LevelsIndex], k: int, vectors: int
) -> list[tuple[Setting, tuple[int, int, int]]]:
    """Return settings of levels with their coordinates."""
    hot = min(quantizer.rq.M for quantizer in quantizers)
    levels = min(quantizer.all_levels for quantizer in quantizers)
    depths = [(Setting(scanned, 0, 0), (scanned, 0, 0)) for scanned in level_choices(hot)]
    ranked = [levels] if levels < SHORT else [levels // 2, levels]
    for scanned, by, factor in product(level_choices(hot), ranked, factor_choices(k, vectors)[1:]):
        if scanned < by:
            depths.append((Setting(scanned, by, factor), (scanned, by, factor)))
    return depths
