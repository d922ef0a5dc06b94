"""The paper's ablation, one thing left out at a time; and training the network end to end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """What a row changes in the full method.

    Attributes:
        weights: Of the losses.
        training: Other options of the trainer.
        model: Options of the model.
    """

    weights: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)


FULL = Variant()
VARIANTS = {
    "full": FULL,
    "no adaptive margin": Variant({"adaptive_margin": 0}),
    "no triplet": Variant({"triplet": 0}),
    "distortion of the whole code only": Variant(training={"distortion_levels": "last"}),
    "no joint central": Variant({"joint_central": 0}),
    "no concatenation": Variant(model={"hidden_features": 0}),
    "end to end": Variant(training={"end_to_end": True}),
    "end to end, distortion x 0.03": Variant(
        {"distortion": 0.03, "joint_central": 0.003}, training={"end_to_end": True}
    ),
}
