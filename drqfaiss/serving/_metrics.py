"""What Prometheus reads: how many requests there were, how long they took, what is served."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from drqfaiss.distributed import ShardedIndex

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The figures of one service."""

    def __init__(self, index: ShardedIndex) -> None:
        self._registry = CollectorRegistry()
        named: Any = {"registry": self._registry}
        self.requests = Counter(
            "drqfaiss_requests", "Requests by path and status.", ["path", "status"], **named
        )
        self.queries = Counter("drqfaiss_queries", "Queries that were answered.", **named)
        self.seconds = Histogram(
            "drqfaiss_search_seconds",
            "From the first byte of a search to its answer.",
            buckets=SECONDS,
            **named,
        )
        self.waiting = Gauge("drqfaiss_requests_in_progress", "Searches being read or answered.", **named)
        self.missing = Gauge("drqfaiss_missing_shards", "Shards that the last answer was without.", **named)
        self.missing.set(len(index.missing))
        vectors = Gauge("drqfaiss_vectors", "Vectors that are searched.", **named)
        vectors.set_function(lambda: index.ntotal)

    def page(self) -> bytes:
        """Return all figures in Prometheus's format."""
        return generate_latest(self._registry)
