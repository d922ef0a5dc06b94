"""One row of the paper's tables. What draws it needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Result:
    """One row: a method at one length.

    Attributes:
        method: What the table calls it.
        features: "learned" (of the network), or "raw" (embeddings as they came).
        bits: Of the code; 0 for float vectors.
        mean_ap: mAP@R.
        train_s: Seconds of training the quantizer alone.
        ranks, precision: precision@R curve.
        pr_precision, pr_recall: precision–recall curve.
    """

    method: str
    features: str
    bits: int
    mean_ap: float
    train_s: float
    ranks: list[int] = field(default_factory=list)
    precision: list[float] = field(default_factory=list)
    pr_precision: list[float] = field(default_factory=list)
    pr_recall: list[float] = field(default_factory=list)
