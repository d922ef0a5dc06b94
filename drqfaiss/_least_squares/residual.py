"""A codebook for every level, one after another, as FAISS trains its residual quantizer.

Least squares fit all codebooks to all vectors at once, and with few vectors, or some much longer than the
others, they fit these too well. Here every level is k-means of what several ways to code a vector, the beam,
leave over of it: that is coarser and holds better for other vectors.
"""

from __future__ import annotations

import faiss
import numpy as np

from drqfaiss._least_squares.model import Group, Model
from drqfaiss._least_squares.options import TrainingOptions
from drqfaiss._least_squares.train import centred, inlying, power_of_two, sample

FAR = 100.0  # spreads that the mean may be away before it is taken off: without need the bits are FAISS's


def train_residual(x: np.ndarray, levels: int, bits: int, options: TrainingOptions) -> Model:
    """Train a codebook for every level; all scales are 1.

    Args:
        x: array (n, d), float32. Finite, at least 2**bits vectors.
        levels: Levels M of the full code.
        bits: Bits per level.
        options: Of these only `seed` and `max_vectors` count.
    """
    x = sample(x, max(options.work.max_vectors, 2**bits), np.random.default_rng(options.seed))
    power = np.float32(power_of_two(x))
    x = x / power
    _, mean = centred(x)
    x = x[inlying(x - mean)]
    x = np.resize(x, (max(len(x), 2**bits), x.shape[1]))
    if np.square(mean).sum() < FAR**2 * x.var(0).sum():
        mean = np.zeros_like(mean)
    x = np.ascontiguousarray(x - mean)
    stock = faiss.ResidualQuantizer(x.shape[1], levels, bits)
    stock.cp.seed, stock.cp.min_points_per_centroid = (stock.cp.seed + options.seed) % 2**31, 1
    stock.train_type |= faiss.ResidualQuantizer.Skip_codebook_tables
    stock.train(x)
    codebooks = faiss.vector_to_array(stock.codebooks).reshape(levels, 2**bits, x.shape[1])
    groups = tuple(Group(codebook * power) for codebook in codebooks)
    return Model(groups, np.arange(levels), np.ones(levels, np.float32), mean * power, None)
