"""A service that runs in a thread, as a client reaches it."""

import socket
import threading
import time
from contextlib import contextmanager

import httpx

from drqfaiss.serving import Limits, _run, create_app


@contextmanager
def serving(index, token=None, **limits):
    """Serve an index; give a client of the service."""
    limits = Limits(**limits)
    app = create_app(index, limits=limits, token=token, threads=2)
    config = _run.uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
    server = _run._Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with httpx.Client(base_url=address, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()
