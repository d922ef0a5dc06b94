"""The paper's ablation, one thing left out at a time; and training the network end to end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from drqfaiss.training.schedule import Weights


@dataclass(frozen=True)
class Variant:
    """What a row changes in the full method.

    Attributes:
        training: Options of the trainer.
        model: Options of the model.
    """

    training: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)


FULL = Variant()
VARIANTS = {
    "full": FULL,
    "no adaptive margin": Variant({"weights": Weights(adaptive_margin=0)}),
    "no triplet": Variant({"weights": Weights(triplet=0)}),
    "distortion of the whole code only": Variant({"distortion_levels": "last"}),
    "no joint central": Variant({"weights": Weights(joint_central=0)}),
    "no concatenation": Variant(model={"hidden_features": 0}),
    "end to end": Variant({"end_to_end": True}),
    "end to end, distortion x 0.03": Variant(
        {"end_to_end": True, "weights": Weights(distortion=0.03, joint_central=0.003)}
    ),
}
