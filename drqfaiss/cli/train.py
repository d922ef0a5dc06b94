"""Train an empty index on a file of vectors.

The index file that it writes is the start of `drqfaiss build`.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import faiss

from drqfaiss._faiss.factory import index_factory
from drqfaiss._faiss.io import write_index
from drqfaiss.cli import options as shared
from drqfaiss.cli.training import add_training, training_of
from drqfaiss.datasets import open_vectors, sample_rows

LEARN_ROWS = 262_144


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``run`` reads."""
    parser.add_argument("vectors", help=shared.VECTORS_HELP)
    parser.add_argument("-o", "--output", required=True, help="index file to write")
    parser.add_argument(
        "--factory", default="DRQ8x8", help="index type, such as IVF1024,DRQ8x8 (default: DRQ8x8)"
    )
    parser.add_argument(
        "--metric", choices=shared.METRICS, default="l2", help="l2 or inner product (default: l2)"
    )
    parser.add_argument(
        "--learn",
        type=shared.positive,
        default=LEARN_ROWS,
        metavar="N",
        help=f"random rows to learn from (default: {LEARN_ROWS})",
    )
    shared.add_normalize(parser)
    add_training(parser, "the random rows")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train and write an empty index."""
    shared.require_output(options.output, options.vectors)
    vectors = open_vectors(options.vectors)
    training = training_of(options, options.factory)
    index = index_factory(vectors.shape[1], options.factory, shared.METRICS[options.metric], **training)
    learn = sample_rows(vectors, options.learn, options.seed)
    if options.normalize:
        faiss.normalize_L2(learn)
    began = time.perf_counter()
    index.train(learn)
    seconds = time.perf_counter() - began
    write_index(index, options.output)
    return {
        "output": options.output,
        "factory": options.factory,
        "d": index.d,
        "learned_rows": len(learn),
        "seconds": round(seconds, 3),
    }
