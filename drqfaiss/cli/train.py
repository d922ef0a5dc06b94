"""Train an empty index on a file of vectors.

The index file that it writes is the start of `drqfaiss build`.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import Field, fields
from typing import Any

import faiss

from drqfaiss._faiss.factory import index_factory
from drqfaiss._faiss.io import write_index
from drqfaiss._least_squares.options import TrainingOptions
from drqfaiss.cli import options as shared
from drqfaiss.datasets import open_vectors, sample_rows

LEARN_ROWS = 262_144
# Not offered one by one: weights are a table, the other two are options of the whole command.
NOT_OFFERED = ("prefix_weights", "seed", "progress")
TRAINING = [option for option in fields(TrainingOptions) if option.name not in NOT_OFFERED]


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
    for option in TRAINING:
        name = "--" + option.name.replace("_", "-")
        drq.add_argument(name, default=None, help=option.metadata["says"], **_argument(option))
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the random rows and of DRQ's training (default: 0)",
    )


def _argument(option: Field[Any]) -> dict[str, Any]:
    """Return what argparse is to make of an option; None, if it is not given, leaves the index's default."""
    if option.metadata["choices"]:
        return {"choices": option.metadata["choices"]}
    if isinstance(option.default, bool):
        return {"action": "store_true"}
    return {"type": int, "metavar": "N"}  # TrainingOptions checks the range.


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train and write an empty index."""
    shared.require_output(options.output, options.vectors)
    vectors = open_vectors(options.vectors)
    training = {option.name: getattr(options, option.name) for option in TRAINING}
    training = {name: value for name, value in training.items() if value is not None}
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
