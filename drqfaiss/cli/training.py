"""Options of the command line that say how DRQ trains: those of `TrainingOptions`."""

from __future__ import annotations

import argparse
from dataclasses import Field, fields
from typing import Any

from drqfaiss._least_squares.options import TrainingOptions

# Not offered one by one: weights are a table, the other two are options of the whole command.
NOT_OFFERED = ("prefix_weights", "seed", "progress")
TRAINING = [option for option in fields(TrainingOptions) if option.name not in NOT_OFFERED]


def add_training(parser: argparse.ArgumentParser, seeded: str) -> None:
    """Add what ``training_of`` reads; ``seeded`` is what the seed is of besides the training."""
    drq = parser.add_argument_group("training of DRQ", "defaults are those of IndexDRQ")
    for option in TRAINING:
        name = "--" + option.name.replace("_", "-")
        drq.add_argument(name, default=None, help=option.metadata["says"], **_argument(option))
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help=f"of {seeded} and of DRQ's training (default: 0)",
    )


def _argument(option: Field[Any]) -> dict[str, Any]:
    """Return what argparse is to make of an option; None, if it is not given, leaves the index's default."""
    if option.metadata["choices"]:
        return {"choices": option.metadata["choices"]}
    if isinstance(option.default, bool):
        return {"action": "store_true"}
    return {"type": int, "metavar": "N"}  # TrainingOptions checks the range.


def training_of(options: argparse.Namespace, factory: str) -> dict[str, Any]:
    """Return the arguments for `index_factory`: those that were given, and for DRQ seed and progress."""
    given = {option.name: getattr(options, option.name) for option in TRAINING}
    training = {name: value for name, value in given.items() if value is not None}
    return training | ({"seed": options.seed, "progress": not options.quiet} if "DRQ" in factory else {})
