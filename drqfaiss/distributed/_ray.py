"""The only place that knows Ray: it is loaded when a cluster is wanted, and errors arrive as they were."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from drqfaiss import _check

try:
    import ray
except ImportError as error:
    raise ImportError("drqfaiss.distributed needs Ray: pip install 'drqfaiss[ray]', or ray=False") from error


SECONDS_TO_ANSWER = 10.0


def connect(address: str | None) -> None:
    """Join a cluster, unless this process has joined one; without an address start one on this machine.

    Raises:
        ConnectionError: no cluster answers there.
    """
    if ray.is_initialized():
        return
    try:
        _require_listener(address)
        ray.init(address=address, include_dashboard=None if address else False, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        line = str(error).strip().splitlines() or [type(error).__name__]
        raise ConnectionError(
            f"address: got {_check.shown(address)}, expected a Ray cluster that answers: {line[0]}"
        ) from error


def _require_listener(address: str | None) -> None:
    """Require that somebody listens at an address with a port: Ray would try for minutes."""
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()


@contextmanager
def raised_as_it_was() -> Iterator[None]:
    """Raise the error of a task as the task raised it."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


__all__ = ["connect", "raised_as_it_was", "ray"]
