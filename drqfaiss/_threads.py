"""How many threads FAISS and searches of ours use, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import faiss


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """Use so many OpenMP threads for a ``with`` block or, as a decorator, in a function."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
