"""Small labelled data and models that the tests of supervised training share."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from drqfaiss.supervised import DRQModel, Trainer, TrainerOptions

torch.set_num_threads(1)  # the same sums, and no waiting for each other


def digits(n=1797):
    """Return pixels (n, 64) in 0..1 and labels of scanned digits, in random order."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))[:n]
    return (x[order] / 16).astype(np.float32), y[order]


def small_model(seed=0, **options):
    torch.manual_seed(seed)
    settings = {"word_features": 10, "hidden_features": 22, "levels": 3, "bits": 4, **options}
    return DRQModel("mlp", {"d": 64, "width": 64}, **settings)


def small_options(**options):
    settings = {"epochs": (2, 1, 2), "batch_size": 64, "start_vectors": 300, "log_steps": 5, **options}
    return TrainerOptions(**settings)


def small_trainer(model=None, n=300, **arguments):
    x, y = digits(n)
    options = arguments.pop("options", None) or small_options()
    return Trainer(model or small_model(), x, y, options=options, device="cpu", progress=False, **arguments)
