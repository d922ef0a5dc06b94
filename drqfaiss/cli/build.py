"""`drqfaiss build`: add a file of vectors to a trained index."""

from __future__ import annotations

import time
from typing import Any

from drqfaiss.build import build_index
from drqfaiss.cli.options import Build
from drqfaiss.cli.vectors import require_output
from drqfaiss.datasets import open_vectors


def run(index: str, vectors: str, options: Build) -> dict[str, Any]:
    """Build the index."""
    require_output(options.output, vectors)
    began = time.perf_counter()
    built = build_index(
        index,
        open_vectors(vectors),
        options.output,
        normalize=options.normalize,
        chunk=options.chunk,
        checkpoint_seconds=options.checkpoint,
        restart=options.restart,
        progress=not options.quiet,
        hot_levels=options.hot_levels,
    )
    return {
        "output": options.output,
        "vectors": built.index.ntotal,
        "added": built.added,
        "resumed_at": built.resumed_at,
        "seconds": round(time.perf_counter() - began, 3),
    }
