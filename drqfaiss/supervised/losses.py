"""The losses of supervised training, each a small module; formulas from Song et al., IJCAI 2019.

Labels are boolean matrices (n, classes): a sample may belong to several classes. Means of squares are taken
over all elements.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drqfaiss.supervised.block import Quantized

LEVELS = ("all", "last")


class DistortionLoss(nn.Module):
    """Σ_m mean(x − QSoft_m)² + μ Σ_m mean(x − QHard_m)², QSoft_m and QHard_m the sums up to level m.

    Args:
        hard_weight: μ.
        levels: {"all", "last"}. Every prefix counts, or only the whole code.
    """

    def __init__(self, hard_weight: float = 1.0, levels: str = "all") -> None:
        super().__init__()
        self.hard_weight = hard_weight
        self.levels = _levels(levels)

    def forward(self, x: Tensor, quantized: Quantized) -> Tensor:
        """Return the loss of x (n, d) and what the block made of it."""
        soft, hard = (_chosen(sums, self.levels) for sums in (quantized.soft, quantized.hard))
        return _square_sum(x - soft) + self.hard_weight * _square_sum(x - hard)


class JointCentralLoss(nn.Module):
    """Σ_m mean(QSoft_m − QHard_m)²: soft and hard codes are to agree.

    Args:
        levels: {"last", "all"}. The whole code only (the authors' code), or every prefix.
    """

    def __init__(self, levels: str = "last") -> None:
        super().__init__()
        self.levels = _levels(levels)

    def forward(self, quantized: Quantized) -> Tensor:
        """Return the loss of what the block made of a batch."""
        return _square_sum(_chosen(quantized.soft, self.levels) - _chosen(quantized.hard, self.levels))


class AdaptiveMarginLoss(nn.Module):
    """Pulls outputs to their classes' word vectors, by margins that grow with how different two words are.

    1/(C Σ_n|Y_n|) Σ_n Σ_{i∈Y_n} Σ_j max(0, δ_ij − cos(v_i, z_n) + cos(v_j, z_n)),  δ_ij = 1 − cos(v_i, v_j);
    from Cao et al., "Deep Visual-Semantic Quantization for Efficient Image Retrieval", CVPR 2017.

    Args:
        word_vectors: tensor (C, w). One row per class, none of them zero.

    Raises:
        ValueError: A class has no word vector: its row is zero or not finite.
    """

    def __init__(self, word_vectors: Tensor) -> None:
        super().__init__()
        self.register_buffer("directions", directions(word_vectors), persistent=False)
        self.register_buffer("margins", 1 - self.directions @ self.directions.T, persistent=False)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of outputs z (n, w) with labels (n, C)."""
        cosines = F.normalize(z) @ self.directions.T
        sample, own = labels.nonzero(as_tuple=True)
        excess = self.margins[own] - cosines[sample, own, None] + cosines[sample]
        return excess.clamp(min=0).sum() / (len(self.directions) * max(len(sample), 1))


class LikelihoodLoss(nn.Module):
    """−Σ_k y_k log p_k, p the softmax of the output's cosines with the classes' word vectors / temperature.

    The adaptive margin loss pulls at every sample alike; this one at those that are still confused. Cosines
    as logits: Wang et al., "NormFace", 2017.

    Args:
        word_vectors: tensor (C, w). One row per class, none of them zero.
        smoothing: Share of y that is spread over all classes: Szegedy et al., "Rethinking the Inception
            Architecture", CVPR 2016. The rest is spread over the sample's own.
        temperature: Of the softmax.

    Raises:
        ValueError: A class has no word vector: its row is zero or not finite.
    """

    def __init__(self, word_vectors: Tensor, smoothing: float = 0.1, temperature: float = 1 / 16) -> None:
        super().__init__()
        self.register_buffer("directions", directions(word_vectors), persistent=False)
        self.smoothing, self.temperature = smoothing, temperature

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of outputs z (n, w) with labels (n, C)."""
        logits = F.normalize(z) @ self.directions.T / self.temperature
        own = labels.to(logits.dtype) / labels.sum(1, keepdim=True)
        return F.cross_entropy(logits, own, label_smoothing=self.smoothing)


class TripletLoss(nn.Module):
    """mean max(0, margin + ‖a − p‖² − ‖a − n‖²) over explicit triplets, as in the paper.

    Args:
        margin: Of squared distances.
        normalize: Whether distances are those of the vectors scaled to length 1, at most 4 (the code).
    """

    def __init__(self, margin: float = 1.0, normalize: bool = True) -> None:
        super().__init__()
        self.margin, self.normalize = margin, normalize

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of features (n, d) of anchors, positives and negatives.

        Raises:
            ValueError: There is no triplet.
        """
        if len(anchor) == 0:
            raise ValueError("triplets: got none, expected at least one")
        if self.normalize:
            anchor, positive, negative = (F.normalize(x) for x in (anchor, positive, negative))
        near, far = ((anchor - other).square().sum(1) for other in (positive, negative))
        return (self.margin + near - far).clamp(min=0).mean()


class SemiHardTripletLoss(nn.Module):
    """The triplet loss with negatives found in the batch, as in the authors' code.

    A positive of an anchor is another sample that shares a label, a negative one that shares none. Every pair
    of anchor and positive takes the nearest negative that is farther than the positive; where there is none,
    the farthest negative. Schroff et al., "FaceNet", CVPR 2015.

    Args:
        margin: Of squared distances; the authors' code has 2.5.
        normalize: Whether distances are those of the vectors scaled to length 1, at most 4 (the code).
    """

    def __init__(self, margin: float = 1.0, normalize: bool = True) -> None:
        super().__init__()
        self.margin, self.normalize = margin, normalize

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of features (n, d) with labels (n, C).

        Raises:
            ValueError: The batch has no pair that shares a label, or no negative for any such pair.
        """
        distances = squared_distances(F.normalize(features) if self.normalize else features)
        alike = sharing(labels)
        positive = alike.clone().fill_diagonal_(False)
        usable = positive & ~alike.all(1, keepdim=True)
        if not usable.any():
            what = "negatives" if positive.any() else "positives"
            raise ValueError(f"labels: got a batch of {len(labels)} samples without {what}, expected some")
        far = self._semi_hard(distances, alike)
        return (self.margin + distances - far).clamp(min=0)[usable].mean()

    @staticmethod
    def _semi_hard(distances: Tensor, alike: Tensor) -> Tensor:
        """Return for every (anchor, positive) the distance of its negative, (n, n)."""
        infinite = distances.detach().masked_fill(alike, torch.inf)  # Sorted, positives come last.
        order = infinite.argsort(1)
        ordered = infinite.gather(1, order)
        first_beyond = torch.searchsorted(ordered, distances.detach().contiguous(), right=True)
        last = (~alike).sum(1, keepdim=True) - 1
        rank = torch.minimum(first_beyond, last).clamp(min=0)
        return distances.gather(1, order.gather(1, rank))


def squared_distances(x: Tensor) -> Tensor:
    """Return the squared distances between all rows of x (n, d), (n, n)."""
    norms = x.square().sum(1)
    return (norms[:, None] + norms - 2 * x @ x.T).clamp(min=0)


def sharing(labels: Tensor) -> Tensor:
    """Return which samples share a label, (n, n) bool, for labels (n, C)."""
    return labels.float() @ labels.float().T > 0


def directions(word_vectors: Tensor) -> Tensor:
    """Return word vectors (C, w) scaled to length 1.

    Raises:
        ValueError: A class has no word vector: its row is zero or not finite.
    """
    norms = word_vectors.norm(dim=1)
    missing = torch.nonzero(~(norms.isfinite() & (norms > 0)))[:, 0].tolist()
    if missing:
        raise ValueError(f"word_vectors: got zero or not finite for classes {missing}, expected one each")
    return F.normalize(word_vectors)


def _levels(levels: str) -> str:
    if levels not in LEVELS:
        raise ValueError(f"levels: got {levels!r}, expected 'all' or 'last'")
    return levels


def _chosen(sums: Tensor, levels: str) -> Tensor:
    return sums if levels == "all" else sums[-1:]


def _square_sum(difference: Tensor) -> Tensor:
    return difference.square().mean((1, 2)).sum()
