"""What is waited for: the answer of a shard, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from drqfaiss._indexes.arrays import Floats, Ids
from drqfaiss.distributed._changes import Change
from drqfaiss.distributed._manifest import ShardFile
from drqfaiss.distributed._query import Query
from drqfaiss.distributed._shard import Facts, Place


class MissingShardsError(RuntimeError):
    """Shards did not answer.

    Attributes:
        shards: name of each shard, and why.
    """

    __module__ = "drqfaiss.distributed"  # Where users and pickles find it.

    def __init__(self, shards: dict[str, str]) -> None:
        super().__init__(shards)
        self.shards = shards

    def __str__(self) -> str:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.shards.items())
        return f"got no answer of {len(self.shards)} shards, expected all: {reasons}"


class Answer(Protocol):
    """Distances and ids that a shard is asked for."""

    def result(self, deadline: float) -> tuple[Floats, Ids]:
        """Return them; raise MissingShardsError if there are none by then, a time of time.monotonic()."""


class Shards(Protocol):
    """The shards of an index, wherever they are."""

    def open(self, places: Sequence[Place], deadline: float) -> list[Facts | Exception]:
        """Open the files; return what they tell or, of those that cannot be opened, why."""

    def search(self, shard: int, x: Any, k: int, query: Query, first_id: int) -> Answer:
        """Ask one shard for what is nearest."""

    def sent(self, x: Floats) -> Any:
        """Return queries as `search` takes them, sent once for all shards."""

    def change(self, shard: int, change: Change, deadline: float) -> int:
        """Change a shard; return how many vectors were added or removed."""

    def save(self, shard: int, path: str, deadline: float) -> ShardFile:
        """Write a shard to a file."""

    def moved(self, shard: int, place: Place) -> None:
        """Let a shard be what `save` wrote."""

    def close(self) -> None:
        """End all that was started."""
