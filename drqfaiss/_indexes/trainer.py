"""The function that trains for the C++ object of an index, from whatever thread FAISS trains it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drqfaiss._core import plugin
from drqfaiss._least_squares import widths
from drqfaiss._least_squares.options import TrainingOptions
from drqfaiss.quantizer import Quantizer


def train(x: NDArray[np.float32], nbits: list[int], options: str) -> NDArray[np.float32]:
    """Return codebooks (Σ K, d), trained on x with options as `TrainingOptions.to_json` writes them."""
    model = widths.train(x, tuple(nbits), TrainingOptions.from_json(options))
    return np.concatenate(Quantizer.from_groups(*model).level_codebooks())


plugin.set_trainer(train)
