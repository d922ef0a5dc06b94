"""Readers at the other end of a pipe."""

import threading
from contextlib import contextmanager


@contextmanager
def reading_in_background(path):
    """Read a pipe while the block writes to it; afterwards the list holds its content."""
    got = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    yield got
    reader.join()
