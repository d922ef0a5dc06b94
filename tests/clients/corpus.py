"""A corpus with fake embeddings: the same text always has the same vector, and no model is needed."""

import zlib

import faiss
import numpy as np

from drqfaiss import IndexDRQ
from tests import reference
from tests.indexes import reconstructions

D = 24
TEXTS = [f"sentence {number}" for number in range(600)]


def embed(text):
    """The vector of a text, shape (D,)."""
    return np.random.default_rng(zlib.crc32(text.encode())).standard_normal(D).astype(np.float32)


VECTORS = np.array([embed(text) for text in TEXTS])


def trained_index(metric=faiss.METRIC_L2):
    index = IndexDRQ(D, 4, 6, metric, iterations=3, progress=False)
    index.train(VECTORS)
    return index


def trained_stock():
    index = faiss.IndexResidualQuantizer(D, 4, 6)
    index.train(VECTORS)
    return index


def nearest(index, text, k, levels=None):
    """Numbers of the k vectors nearest to a text's, by what NumPy decodes from the index's codes."""
    return reference.nearest(embed(text)[None], reconstructions(index, levels), k, "l2")[1][0].tolist()
