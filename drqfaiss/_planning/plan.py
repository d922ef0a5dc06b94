"""``plan``: from vectors to come to the index to build."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import faiss
import numpy as np
from numpy.typing import ArrayLike

from drqfaiss import _check
from drqfaiss._indexes.arrays import Floats
from drqfaiss._least_squares.layouts import FEW, draft_for_many
from drqfaiss._least_squares.options import QUALITIES
from drqfaiss._planning.footprint import BITS, Footprint, copy_for_searches, footprint
from drqfaiss._planning.planned import Plan, PlannedIndex
from drqfaiss._planning.shape import Shape, lengths, lists_for, lists_in_sample, variants
from drqfaiss._planning.trial import Sample, Trial, extended, try_out
from drqfaiss._progress import bar
from drqfaiss.quantizer import Quantizer

MOST_QUERIES, FEWEST_QUERIES = 500, 100
FEWEST_SAMPLED = 2_000
LONGEST_DRAFT = 96  # levels of codes whose length nothing limits
LEARN, MOST_LEARN = 1 / 2, 0.7  # of the sample: half, or as much as that
ENOUGH_LEARN = QUALITIES["fast"].max_vectors  # if there are fewer
CLEARLY = 0.002  # of recall: less does not pay for a less simple index
COPIES = ("SQ8", "Flat")  # of the vectors, where no code finds enough
REFINED_LEVELS = 16  # of codes whose candidates are ranked by copies
PROMISING = 0.01  # A draft is worth a try whose recall is at most so much below the one asked for.
MOST_TRIED = 3  # lengths


def plan(
    n: int,
    d: int,
    *,
    sample: ArrayLike,
    memory: float | None = None,
    recall: float | None = None,
    queries: ArrayLike | None = None,
    k: int = 10,
    metric: int = faiss.METRIC_L2,
    quality: str = "default",
    progress: bool = True,
) -> Plan:
    """Choose the index to build for n vectors: the best that fits, or the smallest that finds enough.

    With ``memory`` alone the most accurate index within it; with ``recall`` alone the smallest that reaches
    it; with both the smallest that reaches it, or the most accurate within the memory. Small indexes are
    trained on the sample and searched thoroughly, in parts of it: how recall falls from part to part tells
    what it will be among n. How a search trades that for time is what `tune` finds out once the index is
    built.

    Args:
        n: vectors of the index.
        d: dimensions.
        sample: vectors like those, (at least 2,000, d): half of them or more train, the others are searched.
            The more, the better: 40,000 are enough for most.
        memory: the most bytes that the index may take.
        recall: share of the k nearest neighbours to find, between 0 and 1.
        queries: vectors to search for, (at least 100, d), if they are not like the sample.
        k: neighbours of a search.
        metric: ``faiss.METRIC_L2`` or ``faiss.METRIC_INNER_PRODUCT``.
        quality: {"fast", "default", "best"}. Of the training, now and then.
        progress: whether to show a line on stderr, if that is a terminal.

    Returns:
        Plan. With ``reached`` False it is the most accurate there is.

    Raises:
        TypeError, ValueError: an argument is not as above; nothing fits into the memory.
    """
    n, d, k = _check.integer("n", n, 1), _check.integer("d", d, 1), _check.integer("k", k, 1)
    memory, recall = _limits(memory, recall)
    quality = _check.one_of("quality", quality, tuple(QUALITIES))
    parts = _apart(_check.vectors("sample", sample, d), queries, k, _check.metric("metric", metric))
    with bar("planning", "indexes", None, shown=progress) as shown:
        return _Planner(n, d, parts, memory, recall, quality, shown.update).choose()


def _limits(memory: float | None, recall: float | None) -> tuple[float | None, float | None]:
    if memory is None and recall is None:
        raise TypeError("memory: got neither it nor recall, expected at least one of them")
    if memory is not None:
        memory = _check.number("memory", memory)
        if not memory > 0:
            raise ValueError(f"memory: got {memory:g}, expected bytes above 0")
    return memory, None if recall is None else _check.share("recall", recall)


def _apart(x: Floats, queries: ArrayLike | None, k: int, metric: int) -> Sample:
    """Return the sample's vectors in an order of their own: some to train on, some to search in and for."""
    _check.finite("sample", x)
    if len(x) < FEWEST_SAMPLED:
        raise ValueError(f"sample: got {len(x)} vectors, expected at least {FEWEST_SAMPLED:,}")
    x = x[np.random.default_rng(0).permutation(len(x))]
    if queries is None:
        count = min(MOST_QUERIES, max(FEWEST_QUERIES, len(x) // 20))
        asked, x = x[:count], x[count:]
    else:
        asked = _check.vectors("queries", queries, x.shape[1])
        _check.finite("queries", asked)
        if len(asked) < FEWEST_QUERIES:
            raise ValueError(f"queries: got {len(asked)}, expected at least {FEWEST_QUERIES}")
    learned = max(LEARN * len(x), min(ENOUGH_LEARN, MOST_LEARN * len(x)))
    learn, base = np.split(x, [int(learned)])
    _check.integer("k", k, 1, len(base) // 10)
    return Sample(learn, base, asked, metric, k)


class _Planner:
    """Tries indexes until one is good enough, or none is left."""

    def __init__(
        self,
        n: int,
        d: int,
        sample: Sample,
        memory: float | None,
        recall: float | None,
        quality: str,
        count: Callable[[], object],
    ) -> None:
        self._n, self._d, self._sample = n, d, sample
        self._memory, self._recall, self._quality, self._count = memory, recall, quality, count
        self._lists = lists_for(n)
        self._training = min(n, QUALITIES[quality].max_vectors)  # vectors that the index is trained on
        self._drafted: Quantizer | None = None
        self._drafts: dict[int, float] = {}  # What codes are expected to find, by their levels.
        self._tried: list[PlannedIndex] = []

    def choose(self) -> Plan:
        """Return the plan."""
        self._draft([levels for levels in lengths(self._d) if self._fits(self._coded(levels))])
        for levels in self._promising():
            for shape in variants(self._coded(levels), self._d):
                self._try(shape)
            if self._reached():
                return self._plan()
        if self._recall is not None:
            for copies in COPIES:
                shape = self._coded(min(REFINED_LEVELS, max(self._drafts)))._replace(copies=copies)
                if self._fits(shape) and not self._reached():
                    self._try(shape)
        return self._plan()

    def _coded(self, levels: int) -> Shape:
        return self._trained(Shape(levels, lists=self._lists))

    def _trained(self, shape: Shape) -> Shape:
        return shape._replace(quality=self._quality)

    def _footprint(self, shape: Shape) -> Footprint:
        metric, copy = self._sample.metric, 0
        if self._drafted is not None:
            copy = copy_for_searches(self._drafted, shape.levels, metric)
        return footprint(shape, self._n, self._d, metric, copy)

    def _fits(self, shape: Shape) -> bool:
        return self._memory is None or self._footprint(shape).memory <= self._memory

    def _draft(self, fitting: list[int]) -> None:
        """Train the longest codes once: their first levels show what shorter ones find."""
        if not fitting:
            raise ValueError(self._why_nothing_fits())
        longest = max((levels for levels in fitting if levels <= LONGEST_DRAFT), default=fitting[0])
        drafted = [levels for levels in fitting if levels <= longest]
        trial = self._try_out(self._trained(Shape(longest)), drafted)
        self._count()
        self._drafted = Quantizer.from_index(trial.index)
        self._drafts = {
            levels: extended(self._sample.parts, found, self._n)
            for levels, found in trial.recalls.items()
            if self._fits(self._coded(levels))
        }
        if not self._drafts:
            raise ValueError(self._why_nothing_fits())

    def _try_out(self, shape: Shape, lengths: Sequence[int] = ()) -> Trial:
        """Try out an index, trained as with many vectors if there are many to come."""
        with draft_for_many() if self._training >= FEW * 2**BITS else nullcontext():
            return try_out(shape, self._sample, lengths)

    def _why_nothing_fits(self) -> str:
        least = self._footprint(self._coded(lengths(self._d)[0]))
        return f"memory: got {self._memory:,.0f} bytes, expected at least {least.memory:,}: " + "; ".join(
            least.arithmetic()
        )

    def _promising(self) -> list[int]:
        """Return lengths to train, the one to prefer first."""
        if self._recall is None:
            return [max(self._drafts)]
        near = [levels for levels, found in self._drafts.items() if found >= self._recall - PROMISING]
        near.sort(key=lambda levels: self._footprint(self._coded(levels)).memory)
        return near[:MOST_TRIED] or [max(self._drafts)]

    def _try(self, shape: Shape) -> None:
        lists = lists_in_sample(shape.lists, self._n, len(self._sample.base))
        trial = self._try_out(self._trained(shape._replace(lists=lists)))
        self._count()
        self._tried.append(
            PlannedIndex(
                shape=shape,
                recall=extended(self._sample.parts, trial.recalls[shape.levels], self._n),
                footprint=self._footprint(shape),
                training_s=trial.train_s * self._training / len(self._sample.learn),
                adding_s=trial.add_us * self._n / 1e6,
            )
        )

    def _reached(self) -> bool:
        return self._recall is not None and any(tried.recall >= self._recall for tried in self._tried)

    def _plan(self) -> Plan:
        reached = [tried for tried in self._tried if tried.recall >= (self._recall or 0)]
        if self._recall is not None and reached:
            chosen = min(reached, key=lambda tried: tried.footprint.memory)
        else:
            chosen = self._tried[0]
            for tried in self._tried[1:]:
                if tried.recall > chosen.recall + CLEARLY:
                    chosen = tried
        drafts = [
            PlannedIndex(self._coded(levels), found, self._footprint(self._coded(levels)))
            for levels, found in self._drafts.items()
        ]
        return Plan(
            chosen=chosen,
            n=self._n,
            d=self._d,
            metric=self._sample.metric,
            k=self._sample.k,
            reached=self._recall is None or bool(reached),
            recall_asked=self._recall,
            memory_asked=self._memory,
            tried=self._tried,
            drafts=drafts,
        )
