"""Draws explicit triplets: an anchor, a positive that shares a label, a negative that shares none."""

from __future__ import annotations

import torch
from torch import Tensor

DRAWS = 100  # So many negatives are drawn before a sample counts as one that has none.


class TripletSampler:
    """Draws positives and negatives for given anchors.

    Args:
        labels: tensor (n, C), bool, on the CPU.

    Raises:
        ValueError: No two samples share a label.
    """

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels
        self.members = [column.nonzero()[:, 0] for column in labels.T]
        self.useful = labels & (labels.sum(0) > 1)  # A class of one sample gives no positive.
        if not self.useful.any():
            raise ValueError("labels: got no two samples that share a label, expected positives")

    def draw(self, anchors: Tensor, generator: torch.Generator) -> Tensor:
        """Return rows (3 · t): t anchors, their positives, their negatives.

        Anchors that have no positive are left out.

        Raises:
            ValueError: No anchor has a positive; an anchor shares a label with nearly all samples.
        """
        anchors = anchors[self.useful[anchors].any(1)]
        if len(anchors) == 0:
            raise ValueError("labels: got a batch of anchors without positives, expected some")
        return torch.cat([anchors, self._positives(anchors, generator), self._negatives(anchors, generator)])

    def _positives(self, anchors: Tensor, generator: torch.Generator) -> Tensor:
        classes = torch.multinomial(self.useful[anchors].float(), 1, generator=generator)[:, 0]
        draws = torch.rand(len(anchors), generator=generator)
        positives = torch.empty_like(anchors)
        for i, (anchor, label) in enumerate(zip(anchors.tolist(), classes.tolist(), strict=True)):
            others = self.members[label]
            others = others[others != anchor]
            positives[i] = others[int(draws[i] * len(others))]
        return positives

    def _negatives(self, anchors: Tensor, generator: torch.Generator) -> Tensor:
        negatives = anchors.clone()
        for _ in range(DRAWS):
            wrong = (self.labels[anchors] & self.labels[negatives]).any(1).nonzero()[:, 0]
            if len(wrong) == 0:
                return negatives
            negatives[wrong] = torch.randint(len(self.labels), (len(wrong),), generator=generator)
        raise ValueError(
            f"labels: got sample {int(anchors[wrong[0]])} that shares a label with all others, expected "
            "negatives"
        )
