"""Progress bars on stderr: tqdm's, where it is installed and stderr is a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class Bar(Protocol):
    """What is used of a tqdm bar."""

    def update(self, n: float | None = 1, /) -> bool | None:
        """Count n more."""

    def __enter__(self) -> Bar:
        """Return the bar."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close it."""


class _Silent:
    def update(self, n: float | None = 1, /) -> bool | None:
        return None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass


def bar(title: str, unit: str, total: int | None, done: int = 0, shown: bool = True) -> Bar:
    """Return a bar that starts at ``done`` of ``total``; one that shows nothing where none can be shown."""
    try:
        from tqdm import tqdm
    except ImportError:  # It is an extra: everything works without it.
        return _Silent()
    hidden = None if shown else True  # For None tqdm hides the bar unless stderr is a terminal.
    return tqdm(desc=title, unit=unit, total=total, initial=done, disable=hidden, unit_scale=True)
