"""Shards in Ray actors, several replicas of each: Ray places them and starts those again that are lost.

A call that a lost actor did not answer goes to another replica or, once Ray has started it again and it has
read its file, to the same one. Changes since the last save are kept here and made again on replicas that lack
them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from drqfaiss._indexes.arrays import Floats
from drqfaiss.distributed._answers import MissingShardsError
from drqfaiss.distributed._changes import Change
from drqfaiss.distributed._manifest import ShardFile
from drqfaiss.distributed._query import Query
from drqfaiss.distributed._ray import raised_as_it_was, ray
from drqfaiss.distributed._shard import ActorShard, Behind, Facts, Place

PAUSE = 0.05  # Seconds before a lost actor is asked again.
INLINE_BYTES = 50_000  # Ray sends arguments of up to twice as many with the call: that is quicker.
# What Ray says where an actor, its machine or what it was sent is gone for now.
LOST = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError, ray.exceptions.NodeDiedError)


@dataclass
class _Group:
    """The replicas of a shard, where it is, and what was done to it since."""

    place: Place
    actors: list[Any]
    changes: list[Change] = field(default_factory=list)
    turn: count = field(default_factory=count)

    def next_actor(self) -> Any:
        """Return the replica whose turn it is."""
        return self.actors[next(self.turn) % len(self.actors)]


class ActorShards:
    """Shards, each in actors of its own.

    Args:
        replicas: actors of each shard.
        threads: OpenMP threads of each actor.
    """

    def __init__(self, replicas: int, threads: int) -> None:
        self._replicas, self._threads = replicas, threads
        self._groups: list[_Group] = []

    def open(self, places: Sequence[Place], deadline: float) -> list[Facts | Exception]:
        """Start the actors and open the files; return what they tell or, of those without an answer, why."""
        self._groups = [
            _Group(place, [self._started(place) for _ in range(self._replicas)]) for place in places
        ]
        asked = [[actor.facts.remote(group.place) for actor in group.actors] for group in self._groups]
        return [self._told(group, refs, deadline) for group, refs in zip(self._groups, asked, strict=True)]

    def _started(self, place: Place) -> Any:
        options: dict[str, Any] = {"max_restarts": -1, "scheduling_strategy": "SPREAD"}
        if place.expected is not None:
            options["memory"] = place.expected.bytes
        return ray.remote(ActorShard).options(**options).remote(self._threads)

    def _told(self, group: _Group, refs: list[Any], deadline: float) -> Facts | Exception:
        try:
            for ref in refs[1:]:  # All replicas have to have it, not only the first.
                _Call(group, lambda actor: actor.facts.remote(group.place), ref).result(deadline)
            return _Call(group, lambda actor: actor.facts.remote(group.place), refs[0]).result(deadline)
        except (OSError, ValueError, RuntimeError) as error:
            return error

    def sent(self, x: Floats) -> Any:
        """Put queries where all actors find them, sent to a machine once; a few travel in the calls."""
        return ray.put(x) if x.nbytes > INLINE_BYTES else x

    def search(self, shard: int, x: Any, k: int, query: Query, first_id: int) -> _Call:
        """Ask a replica of a shard."""
        group = self._groups[shard]
        made = len(group.changes)
        return _Call(group, lambda actor: actor.search.remote(group.place, made, x, k, query, first_id))

    def change(self, shard: int, change: Change, deadline: float) -> int:
        """Change all replicas that are there; the others are told when they are asked next."""
        group = self._groups[shard]
        changes = [*group.changes, change]
        # An error of the first replica changes nothing: the others are not asked.
        changed = _Call(group, lambda actor: actor.change.remote(group.place, changes)).result(deadline)
        group.changes = changes
        for actor in group.actors:
            actor.change.remote(group.place, changes)  # Those that have made it do nothing.
        return changed

    def save(self, shard: int, path: str, deadline: float) -> ShardFile:
        """Let a replica write a file, where this process sees the same folder."""
        group = self._groups[shard]
        made = len(group.changes)
        return _Call(group, lambda actor: actor.save.remote(group.place, made, path)).result(deadline)

    def moved(self, shard: int, place: Place) -> None:
        """Let all replicas take the file that was saved for theirs."""
        group = self._groups[shard]
        for actor in group.actors:
            actor.moved.remote(group.place, len(group.changes), place)
        group.place, group.changes = place, []

    def close(self) -> None:
        """End the actors."""
        while self._groups:
            for actor in self._groups.pop().actors:
                ray.kill(actor)


class _Call:
    """A call of one of the replicas of a shard, and of the others until one answers."""

    def __init__(self, group: _Group, ask: Callable[[Any], Any], ref: Any = None) -> None:
        self._group, self._ask = group, ask
        self._actor = group.actors[0]
        self._ref = self._sent() if ref is None else ref

    def _sent(self) -> Any:
        self._actor = self._group.next_actor()
        return self._ask(self._actor)

    def result(self, deadline: float) -> Any:
        """Return the answer; raise what the shard raises, MissingShardsError if nobody answers in time."""
        lost = "it does not answer"
        while True:
            left = deadline - time.monotonic()
            try:
                with raised_as_it_was():
                    answer = ray.get(self._ref, timeout=max(0.0, left))
            except ray.exceptions.GetTimeoutError:
                raise self._missing(lost) from None
            except LOST as error:
                lost = f"its actor is lost: {str(error).splitlines()[0]}"
                if left <= 0:  # One that is gone for good says so at once, time after time.
                    raise self._missing(lost) from None
                time.sleep(min(PAUSE, left))
            else:
                if not isinstance(answer, Behind):
                    return answer
                self._actor.change.remote(self._group.place, self._group.changes)
                self._ref = self._ask(self._actor)  # Actors do one thing after the other.
                continue
            self._ref = self._sent()

    def _missing(self, why: str) -> MissingShardsError:
        return MissingShardsError({self._group.place.path: why})
