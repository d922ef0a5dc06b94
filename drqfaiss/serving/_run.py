"""Runs the service until it is told to stop."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from drqfaiss.distributed import ShardedIndex
from drqfaiss.serving._app import create_app
from drqfaiss.serving._limits import Limits

try:
    import uvicorn
except ImportError as error:
    raise ImportError("drqfaiss.serving needs uvicorn: pip install 'drqfaiss[serve]'") from error

STOPPING = (signal.SIGINT, signal.SIGTERM)
BACKLOG = 1024  # Connections that wait to be accepted.
GRACE_SECONDS = 5  # On top of what a request may take.
IDLE_SECONDS = 5  # That a connection is kept without a request.


def serve(
    index: ShardedIndex,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    token: str | None = None,
    threads: int = 1,
) -> None:
    """Answer searches until SIGINT or SIGTERM; requests that have begun are answered.

    Args:
        index: what is searched.
        host: address to listen at; others than this machine's own reach it only at another one.
        port: port to listen at, 0: any.
        limits: the most that a request may ask for.
        token: what clients have to show, see `create_app`; None: nothing.
        threads: searches at a time, each on one thread.

    Raises:
        OSError: nobody can listen there.
        ImportError: FastAPI or uvicorn is not installed.
    """
    limits = limits or Limits()
    if token is None and not is_loopback(host):
        print(f"drqfaiss: warning: anybody who reaches {host} may search: there is no token", file=sys.stderr)
    config = uvicorn.Config(
        create_app(index, limits=limits, token=token, threads=threads),
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=int(limits.seconds) + GRACE_SECONDS,
    )
    server = _Server(config)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=BACKLOG) as listening:
        server.run([listening])


class _Server(uvicorn.Server):
    """Tells where it listens, once it does, and returns when it is told to stop."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and print the address."""
        await super().startup(sockets)
        (listening,) = sockets or []
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"drqfaiss: serving at http://{shown}:{port}", file=sys.stderr, flush=True)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at signals without raising them again: the caller has an index to close."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in STOPPING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def is_loopback(host: str) -> bool:
    """Return whether an address is one that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
