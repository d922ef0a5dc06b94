"""Every loss against a value computed by plain loops, and its gradient."""

import numpy as np
import pytest
import torch

from drqfaiss.supervised import (
    AdaptiveMarginLoss,
    DistortionLoss,
    JointCentralLoss,
    LikelihoodLoss,
    SemiHardTripletLoss,
    TripletLoss,
)
from drqfaiss.supervised.block import Quantized

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3))
SOFT, HARD = RNG.normal(size=(2, 4, 5, 3))
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]], bool)
WORDS = RNG.normal(size=(3, 3))


def tensor(array):
    if isinstance(array, torch.Tensor):
        return array
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def quantized(soft=SOFT, hard=HARD):
    return Quantized(tensor(soft), tensor(hard), torch.zeros(5, 4, dtype=torch.int64))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("levels", ["all", "last"])
def test_distortion(levels):
    chosen = range(4) if levels == "all" else [3]
    expected = sum(np.mean((X - SOFT[m]) ** 2) + 0.7 * np.mean((X - HARD[m]) ** 2) for m in chosen)
    assert DistortionLoss(0.7, levels)(tensor(X), quantized()).item() == pytest.approx(expected)


@pytest.mark.parametrize("levels", ["all", "last"])
def test_joint_central(levels):
    chosen = range(4) if levels == "all" else [3]
    expected = sum(np.mean((SOFT[m] - HARD[m]) ** 2) for m in chosen)
    assert JointCentralLoss(levels)(quantized()).item() == pytest.approx(expected)


def test_distortion_by_hand():
    two = Quantized(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]]), torch.zeros(1, 1))
    # mean((2-1)², (2-0)²) + 0.5 · mean((2-0)², (2-2)²) = 2.5 + 0.5 · 2
    assert DistortionLoss(0.5)(torch.tensor([[2.0, 2.0]]), two).item() == 3.5
    assert JointCentralLoss()(two).item() == 2.5  # mean((1-0)², (0-2)²)


def test_adaptive_margin():
    total = 0.0
    z, v = unit(X), unit(WORDS)
    for n in range(5):
        for i in np.flatnonzero(LABELS[n]):
            for j in range(3):
                total += max(0, 1 - v[i] @ v[j] - v[i] @ z[n] + v[j] @ z[n])
    expected = total / (3 * LABELS.sum())
    loss = AdaptiveMarginLoss(tensor(WORDS).detach())
    assert loss(tensor(X), torch.from_numpy(LABELS)).item() == pytest.approx(expected)


def test_adaptive_margin_by_hand():
    loss = AdaptiveMarginLoss(torch.eye(2))
    # The other word is orthogonal: margin 1; cosines 0.6 and 0.8: max(0, 1 − 0.6 + 0.8) / 2 classes.
    labels = torch.tensor([[True, False]])
    assert loss(torch.tensor([[3.0, 4.0]]), labels).item() == pytest.approx(0.6)
    assert loss(torch.tensor([[1.0, 0.0]]), labels).item() == pytest.approx(0)


def test_likelihood():
    total = 0.0
    z, v = unit(X), unit(WORDS)
    for n in range(5):
        p = np.exp(v @ z[n] / 0.5)
        wanted = 0.8 * LABELS[n] / LABELS[n].sum() + 0.2 / 3
        total -= wanted @ np.log(p / p.sum())
    loss = LikelihoodLoss(tensor(WORDS).detach(), smoothing=0.2, temperature=0.5)
    assert loss(tensor(X), torch.from_numpy(LABELS)).item() == pytest.approx(total / 5)


@pytest.mark.parametrize("normalize", [False, True])
def test_triplet(normalize):
    a, p, n = (unit(x) if normalize else x for x in (X[:2], X[2:4], X[3:5]))
    expected = np.maximum(0, 2.5 + ((a - p) ** 2).sum(1) - ((a - n) ** 2).sum(1)).mean()
    loss = TripletLoss(2.5, normalize)(tensor(X[:2]), tensor(X[2:4]), tensor(X[3:5]))
    assert loss.item() == pytest.approx(expected)


def semi_hard_reference(x, labels, margin):
    distances = ((x[:, None] - x) ** 2).sum(2)
    terms = []
    for a in range(len(x)):
        negatives = [n for n in range(len(x)) if not (labels[a] & labels[n]).any()]
        for p in range(len(x)):
            if p == a or not (labels[a] & labels[p]).any() or not negatives:
                continue
            farther = [distances[a, n] for n in negatives if distances[a, n] > distances[a, p]]
            far = min(farther) if farther else max(distances[a, n] for n in negatives)
            terms.append(max(0, margin + distances[a, p] - far))
    return np.mean(terms)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("multi", [False, True])
def test_semi_hard(normalize, multi):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(24, 4))
    labels = rng.random((24, 6)) < 0.25 if multi else np.eye(4, dtype=bool)[rng.integers(4, size=24)]
    labels[:, 0] |= ~labels.any(1)
    expected = semi_hard_reference(unit(x) if normalize else x, labels, 0.8)
    loss = SemiHardTripletLoss(0.8, normalize)(tensor(x), torch.from_numpy(labels))
    assert loss.item() == pytest.approx(expected)


def test_semi_hard_by_hand():
    x = torch.tensor([[0.0], [1.0], [1.5], [3.0]])
    labels = torch.tensor([[True, False], [True, False], [False, True], [False, True]])
    # (0→1): positive at 1, the nearest negative beyond at 2.25; (1→0): at 1, beyond is 4; (2→3): at 2.25, no
    # negative beyond 2.25 at distances 2.25 and 0.25, so the farthest: 2.25; (3→2): at 2.25, beyond is 4.
    terms = [1 + 1 - 2.25, 1 + 1 - 4, 1 + 2.25 - 2.25, 1 + 2.25 - 4]
    expected = sum(max(0, term) for term in terms) / 4
    assert SemiHardTripletLoss(1.0, normalize=False)(x, labels).item() == expected


LOSSES = {
    "distortion": lambda x: DistortionLoss(0.5)(x, quantized()),
    "distortion of the codewords": lambda x: DistortionLoss()(tensor(X), quantized(x[None], x[None])),
    "joint": lambda x: JointCentralLoss()(quantized(x[None], HARD[-1:])),
    "margin": lambda x: AdaptiveMarginLoss(tensor(WORDS).detach())(x, torch.from_numpy(LABELS)),
    "likelihood": lambda x: LikelihoodLoss(tensor(WORDS).detach())(x, torch.from_numpy(LABELS)),
    "triplet": lambda x: TripletLoss(1.0)(x[:2], x[2:4], x[3:5]),
    "semi-hard": lambda x: SemiHardTripletLoss(1.0)(x, torch.from_numpy(LABELS)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    assert torch.autograd.gradcheck(LOSSES[name], (tensor(X),))


def test_batches_without_positives_or_negatives():
    loss = SemiHardTripletLoss()
    x = torch.randn(3, 4)
    with pytest.raises(ValueError, match="a batch of 3 samples without positives"):
        loss(x, torch.eye(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="a batch of 3 samples without negatives"):
        loss(x, torch.ones(3, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="triplets: got none"):
        TripletLoss()(x[:0], x[:0], x[:0])


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_class_without_word_vector(value):
    words = torch.tensor(WORDS)
    words[1] = value
    with pytest.raises(ValueError, match=r"word_vectors: got zero or not finite for classes \[1\]"):
        AdaptiveMarginLoss(words)


def test_unknown_levels():
    for loss in (DistortionLoss, JointCentralLoss):
        with pytest.raises(ValueError, match="levels: got 'first', expected 'all' or 'last'"):
            loss(levels="first")
