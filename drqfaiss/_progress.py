"""Progress on stderr, where that is a terminal: rich's bars, or a line where rich is not installed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

SECONDS_BETWEEN = 0.1  # Two looks of what is shown, at least.


class Bar(Protocol):
    """Counts what is done."""

    def update(self, n: int = 1, /) -> None:
        """Count n more."""


@contextmanager
def bar(title: str, unit: str, total: int | None, done: int = 0, shown: bool = True) -> Iterator[Bar]:
    """Give a bar that starts at ``done`` of ``total``; one that shows nothing where none can be shown."""
    if not (shown and sys.stderr.isatty()):
        yield _Counter(lambda done: None, done)
        return
    try:
        import rich  # noqa: F401
    except ImportError:  # It is an extra: everything works without it.
        drawing = _line(title, unit, total, done)
    else:
        drawing = _rich_bar(title, unit, total, done)
    with drawing as show:
        counter = _Counter(show, done)
        yield counter
        show(counter.done)


class _Counter:
    """Counts, and shows it when that is due: no thread of its own, which forks and signals would meet."""

    def __init__(self, show: Callable[[int], None], done: int) -> None:
        self._show, self.done, self._shown_at = show, done, -SECONDS_BETWEEN

    def update(self, n: int = 1, /) -> None:
        self.done += n
        now = time.monotonic()
        if now - self._shown_at >= SECONDS_BETWEEN:
            self._shown_at = now
            self._show(self.done)


@contextmanager
def _rich_bar(title: str, unit: str, total: int | None, before: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = MofNCompleteColumn() if total is not None else TextColumn("{task.completed}")
    left = [TextColumn("left"), TimeRemainingColumn()] if total is not None else []
    with Progress(
        TextColumn(title),
        BarColumn(),
        count,
        TextColumn(unit),
        *left,
        console=Console(stderr=True),
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task(title, total=total, completed=before)
        yield lambda done: progress.update(task, completed=done, refresh=True)


@contextmanager
def _line(title: str, unit: str, total: int | None, before: int) -> Iterator[Callable[[int], None]]:
    """Give what writes one line over and over."""
    began = time.monotonic()

    def show(done: int) -> None:
        of_all = left = ""
        if total is not None:
            of_all = f"/{total}"
            seconds = (time.monotonic() - began) / max(1, done - before) * (total - done)
            left = f", {seconds:.0f} s left"
        print(f"\r{title}: {done}{of_all} {unit}{left}\x1b[K", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        print(file=sys.stderr)
