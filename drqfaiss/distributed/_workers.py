"""Who does the work of building and merging: Ray's tasks, or this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from drqfaiss._progress import bar
from drqfaiss.distributed._manifest import ShardFile

AHEAD = 2  # Tasks per CPU that are handed out before one of them is done: what they carry is in memory.


class Workers(Protocol):
    """Calls a function with many arguments, in whatever order."""

    def results(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield what the function returns, as it comes; raise what it raises."""


class ThisProcess:
    """Does one thing after the other."""

    def results(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield what the function returns, in order."""
        return (function(*arguments) for arguments in calls)


class RayTasks:
    """A Ray task per call; those whose worker or machine dies are started again by Ray."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def results(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield what the function returns, as it comes."""
        from drqfaiss.distributed._ray import raised_as_it_was, ray

        task = ray.remote(function).options(num_cpus=self._threads, max_retries=-1)
        most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        running: list[Any] = []
        try:
            with raised_as_it_was():
                for arguments in calls:
                    running.append(task.remote(*arguments))
                    if len(running) >= most:
                        yield _take(ray, running)
                while running:
                    yield _take(ray, running)
        finally:
            for left in running:
                ray.cancel(left, force=True)


def workers(use_ray: bool, address: str | None, threads: int) -> Workers:
    """Return Ray's tasks, in the cluster at an address, or this process.

    Raises:
        ConnectionError: no cluster answers at the address.
    """
    if not use_ray:
        return ThisProcess()
    from drqfaiss.distributed._ray import connect

    connect(address)
    return RayTasks(threads)


def shards_made(
    makers: Workers,
    make: Callable[..., ShardFile],
    calls: Iterable[tuple[Any, ...]],
    title: str,
    total: int | None,
    progress: bool,
) -> list[ShardFile]:
    """Return the shards that the calls make, in the order of their files; a bar counts them."""
    made = list[ShardFile]()
    with bar(title, "shards", total, shown=progress) as shown:
        for shard in makers.results(make, calls):
            made.append(shard)
            shown.update()
    return sorted(made, key=lambda shard: shard.file)


def _take(ray: Any, running: list[Any]) -> Any:
    """Return the first result that there is, and forget its task."""
    (done, *_), _ = ray.wait(running, num_returns=1)
    running.remove(done)
    return ray.get(done)
