"""`drqfaiss serve`: answer searches of an index or of shards over HTTP."""

from __future__ import annotations

import os
from typing import Any

from drqfaiss.cli.options import Serve
from drqfaiss.distributed import ShardedIndex

LOCAL = "local"  # A Ray of this machine's own.
REQUESTS_PER_CORE = 4  # Threads that wait for actors take no core.


def run(source: str, options: Serve) -> dict[str, Any]:
    """Serve until a signal."""
    from drqfaiss.serving import Limits, serve
    from drqfaiss.serving._token import read_token

    limits = Limits(
        body=int(options.max_body),
        k=options.max_k,
        results=options.max_results,
        levels=options.max_levels,
        refine_factor=options.max_refine_factor,
        nprobe=options.max_nprobe,
        seconds=options.max_seconds,
        waiting=options.max_waiting,
    )
    token = read_token(options.token_file)
    cores = options.threads or os.cpu_count() or 1
    with ShardedIndex.open(
        source,
        ray=options.ray is not None,
        address=None if options.ray == LOCAL else options.ray,
        replicas=options.replicas,
        partial=options.partial,
        timeout=options.max_seconds,
    ) as index:
        threads = cores if options.ray is None else cores * REQUESTS_PER_CORE
        serve(index, host=options.host, port=options.port, limits=limits, token=token, threads=threads)
        return {"source": source, "vectors": index.ntotal, "stopped": True}
