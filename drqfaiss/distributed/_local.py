"""Shards in this process, one after the other, without Ray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from drqfaiss._indexes.arrays import Floats, Ids
from drqfaiss.distributed._answers import MissingShardsError
from drqfaiss.distributed._changes import Change
from drqfaiss.distributed._manifest import ShardFile
from drqfaiss.distributed._query import Query
from drqfaiss.distributed._shard import Facts, Place, Shard


class LocalShards:
    """Index files, opened here. Searches may come from many threads."""

    def __init__(self) -> None:
        self._shards: list[Shard | Exception] = []
        self._names: list[str] = []

    def open(self, places: Sequence[Place], deadline: float) -> list[Facts | Exception]:
        """Open the files; return what they tell or, of those that cannot be opened, why."""
        self._names = [place.path for place in places]
        self._shards = [_opened(place) for place in places]
        return [shard.facts if isinstance(shard, Shard) else shard for shard in self._shards]

    def sent(self, x: Floats) -> Floats:
        """Return queries as they are."""
        return x

    def search(self, shard: int, x: Floats, k: int, query: Query, first_id: int) -> Done:
        """Search one shard."""
        return Done(*self._there(shard).search(x, k, query, first_id))

    def change(self, shard: int, change: Change, deadline: float) -> int:
        """Change a shard; return how many vectors were added or removed."""
        return self._there(shard).change(change)

    def save(self, shard: int, path: str, deadline: float) -> ShardFile:
        """Write a shard to a file."""
        return self._there(shard).save(path)

    def moved(self, shard: int, place: Place) -> None:
        """Remember the new name."""
        self._names[shard] = place.path

    def close(self) -> None:
        """Let the indexes go."""
        self._shards = []

    def _there(self, shard: int) -> Shard:
        found = self._shards[shard]
        if isinstance(found, Exception):
            raise MissingShardsError({self._names[shard]: str(found)})
        return found


class Done(NamedTuple):
    """What a shard has found."""

    distances: Floats
    ids: Ids

    def result(self, deadline: float) -> tuple[Floats, Ids]:
        """Return it: nothing has to be waited for."""
        return self


def _opened(place: Place) -> Shard | Exception:
    try:
        return Shard(place)
    except (OSError, ValueError, RuntimeError) as error:
        return error
