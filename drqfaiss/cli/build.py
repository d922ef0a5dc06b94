"""Add a file of vectors to a trained index; repeat the command to go on after an interruption.

Vectors are read in chunks, so the file may be larger than memory. Until it is done, the index so far is
kept in the folder OUTPUT.build.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from drqfaiss.build import CHECKPOINT_SECONDS, CHUNK_ROWS, build_index
from drqfaiss.cli import options as shared
from drqfaiss.datasets import open_vectors


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``run`` reads."""
    parser.add_argument("index", help="a trained index file, of `drqfaiss train` or of FAISS")
    parser.add_argument("vectors", help=shared.VECTORS_HELP)
    parser.add_argument("-o", "--output", required=True, help="index file to write")
    parser.add_argument(
        "--chunk",
        type=shared.positive,
        default=CHUNK_ROWS,
        metavar="N",
        help=f"rows added at a time (default: {CHUNK_ROWS})",
    )
    parser.add_argument(
        "--checkpoint",
        type=shared.seconds,
        default=CHECKPOINT_SECONDS,
        metavar="SECONDS",
        help=f"between two saved states, at least (default: {CHECKPOINT_SECONDS:g})",
    )
    parser.add_argument(
        "--hot-levels",
        type=shared.positive,
        metavar="L",
        help="write two files: an index of the first L levels, which searches keep in memory, and "
        "OUTPUT.tail with the others, which they rank a shortlist by",
    )
    parser.add_argument("--restart", action="store_true", help="discard what an interrupted build left")
    shared.add_normalize(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Build the index."""
    shared.require_output(options.output, options.vectors)
    began = time.perf_counter()
    built = build_index(
        options.index,
        open_vectors(options.vectors),
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
