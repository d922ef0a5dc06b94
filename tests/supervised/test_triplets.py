"""Explicit triplets share labels as they should."""

import numpy as np
import pytest
import torch

from drqfaiss.supervised.schedule import generator
from drqfaiss.supervised.triplets import TripletSampler


def test_positives_share_and_negatives_do_not():
    labels = torch.from_numpy(np.random.default_rng(0).random((60, 5)) < 0.3)
    labels[:, 0] |= ~labels.any(1)
    a, p, n = TripletSampler(labels).draw(torch.arange(60), generator(0)).view(3, -1)
    assert (labels[a] & labels[p]).any(1).all()
    assert not (labels[a] & labels[n]).any()
    assert (a != p).all()


def test_draws_are_repeatable():
    labels = torch.eye(4, dtype=torch.bool).repeat(5, 1)
    draws = [TripletSampler(labels).draw(torch.arange(20), generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_anchors_without_positives_are_left_out():
    labels = torch.eye(3, dtype=torch.bool)[[0, 0, 1, 2]]
    sampler = TripletSampler(labels)
    assert sampler.draw(torch.arange(4), generator(0)).view(3, -1)[0].tolist() == [0, 1]
    with pytest.raises(ValueError, match="a batch of anchors without positives"):
        sampler.draw(torch.tensor([2, 3]), generator(0))


def test_no_positives_or_negatives_at_all():
    with pytest.raises(ValueError, match="no two samples that share a label"):
        TripletSampler(torch.eye(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="sample 0 that shares a label with all others"):
        TripletSampler(torch.ones(4, 1, dtype=torch.bool)).draw(torch.arange(4), generator(0))
