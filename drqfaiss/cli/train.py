"""Train an empty index on a file of vectors.

The index file that it writes is the start of `drqfaiss build`.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import faiss

from drqfaiss._least_squares.options import QUALITIES, SCALES
from drqfaiss.cli import options as shared
from drqfaiss.datasets import open_vectors, sample_rows
from drqfaiss.factory import index_factory
from drqfaiss.io import write_index

LEARN_ROWS = 262_144
# What index_factory takes for DRQ; None leaves its own default.
TRAINING = ("scale", "own_first", "quality", "iterations", "beam", "max_vectors")


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
    drq = parser.add_argument_group("training of DRQ", "defaults are those of IndexDRQ")
    drq.add_argument("--scale", choices=SCALES, help="how levels scale the codebook")
    drq.add_argument(
        "--own-first", action="store_true", default=None, help="the first level gets a codebook of its own"
    )
    drq.add_argument("--quality", choices=QUALITIES, help="time against accuracy")
    drq.add_argument("--iterations", type=shared.positive, metavar="N", help="rounds of encoding and solving")
    drq.add_argument(
        "--beam", type=shared.positive, metavar="N", help="partial codes that the beam search keeps"
    )
    drq.add_argument(
        "--max-vectors", type=shared.positive, metavar="N", help="rows that the codebook learns from, at most"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the random rows and of DRQ's training (default: 0)",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train and write an empty index."""
    shared.require_output(options.output, options.vectors)
    vectors = open_vectors(options.vectors)
    training = {name: getattr(options, name) for name in TRAINING if getattr(options, name) is not None}
    if "DRQ" in options.factory:
        training |= {"seed": options.seed, "progress": not options.quiet}
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
        "learned rows": len(learn),
        "seconds": round(seconds, 3),
    }
