"""What planning found: the index to build, what it takes, and what others take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import faiss

from drqfaiss import _check
from drqfaiss._faiss.factory import index_factory
from drqfaiss._planning.footprint import Footprint
from drqfaiss._planning.shape import K_FACTOR, Shape


@dataclass(frozen=True)
class PlannedIndex:
    """An index that could be built.

    Attributes:
        shape: what it is.
        recall: k@k that its most thorough search is expected to have.
        footprint: its bytes.
        training_s: estimated seconds of training on this machine; None: it was no trial of its own.
        adding_s: the same of adding all vectors.
    """

    __module__ = "drqfaiss"  # Where users and pickles find it.

    shape: Shape
    recall: float
    footprint: Footprint
    training_s: float | None = None
    adding_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all this as plain names and values, for JSON."""
        return {
            "description": self.shape.description,
            "training": self.shape.training,
            "recall": self.recall,
            "bytes_per_vector": sum(self.footprint.per_vector.values()),
            "memory": self.footprint.memory,
            "file": self.footprint.file,
            "training_s": self.training_s,
            "adding_s": self.adding_s,
        }


@dataclass(frozen=True)
class Plan:
    """The index to build, see `plan`.

    Attributes:
        chosen: the index, its expected recall, its bytes and times.
        n: vectors it is for.
        d: their dimensions.
        metric: FAISS's number.
        k: neighbours of the searches.
        reached: whether the recall asked for is expected.
        recall_asked: that recall; None: the best was asked for.
        memory_asked: the most bytes; None: any number.
        tried: what was trained on half of the sample, ``chosen`` among it.
        drafts: codes of other lengths, by the first levels of the longest.
    """

    __module__ = "drqfaiss"  # Where users and pickles find it.

    chosen: PlannedIndex
    n: int
    d: int
    metric: int
    k: int
    reached: bool
    recall_asked: float | None
    memory_asked: float | None
    tried: list[PlannedIndex] = field(repr=False)
    drafts: list[PlannedIndex] = field(repr=False)

    @property
    def description(self) -> str:
        """What `index_factory` takes."""
        return self.chosen.shape.description

    @property
    def training(self) -> dict[str, Any]:
        """Options of training that are not the defaults, for `index_factory`."""
        return self.chosen.shape.training

    @property
    def recall(self) -> float:
        """k@k that the most thorough search is expected to have."""
        return self.chosen.recall

    @property
    def memory(self) -> int:
        """Bytes in memory."""
        return self.chosen.footprint.memory

    def build(self) -> faiss.Index:
        """Return the index, to be trained and filled."""
        index = index_factory(self.d, self.description, self.metric, **self.training)
        if self.chosen.shape.copies:
            index.k_factor = K_FACTOR
        return index

    def as_dict(self) -> dict[str, Any]:
        """Return all this as plain names and values, for JSON."""
        chosen = self.chosen
        return {
            **chosen.as_dict(),
            "per_vector": chosen.footprint.per_vector,
            "fixed": chosen.footprint.fixed,
            "n": self.n,
            "d": self.d,
            "k": self.k,
            "metric": _check.METRIC_NAMES[self.metric],
            "reached": self.reached,
            "recall_asked": self.recall_asked,
            "memory_asked": self.memory_asked,
            "rows": [index.as_dict() for index in [*self.tried, *self.drafts]],
        }

    def __repr__(self) -> str:
        """Say it in lines of at most 80 characters."""
        chosen = self.chosen
        options = "".join(f", {name}={value!r}" for name, value in self.training.items())
        lines = [
            f"index_factory({self.d}, {self.description!r}{options})",
            f"recall {self.k}@{self.k} about {self.recall:.3f} among {self.n:,} vectors, searched thoroughly",
            f"{in_units(self.memory)} in memory, {in_units(chosen.footprint.file)} in a file; about "
            f"{chosen.training_s or 0:,.0f} s to train, {chosen.adding_s or 0:,.0f} s to add",
        ]
        if not self.reached:
            within = "" if self.memory_asked is None else f" within {in_units(self.memory_asked)}"
            lines.append(f"The recall asked for, {self.recall_asked:g}, is out of reach{within}.")
        return "\n".join([*lines, "", *chosen.footprint.arithmetic(), "", *self.table()])

    def table(self) -> list[str]:
        """Return what was tried in lines, the chosen index with an asterisk."""
        rows = [["", "index", "recall", "bytes", "memory"]]
        for index in [*self.tried, *self.drafts]:
            own = " own_first" if index.shape.own_first else ""
            mark = "*" if index is self.chosen else "" if index.training_s is not None else "draft"
            per_vector = sum(index.footprint.per_vector.values())
            rows.append(
                [
                    mark,
                    index.shape.description + own,
                    f"{index.recall:.3f}",
                    str(per_vector),
                    in_units(index.footprint.memory),
                ]
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True)) for row in rows
        ]


def in_units(size: float) -> str:
    """Write bytes in units of 1,000."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} GB"
