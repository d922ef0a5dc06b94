"""Small indexes, and what their searches must return according to NumPy and to stock FAISS."""

import gc

import faiss
import numpy as np

from drqfaiss import IndexDRQ
from drqfaiss._core import plugin
from tests import reference

METRICS = {"l2": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT}
D, M, NBITS = 16, 5, 4


def make_vectors(n, seed=0, d=D):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def make_codebooks(seed=0, d=D, levels=M, nbits=NBITS, blocks=0):
    """One codebook, a scale per level and a mean folded into level 0. All but two may be on blocks."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((1 << nbits, d))
    codebooks = np.array([0.75**m * base for m in range(levels)])
    if blocks:
        axes = np.linalg.qr(rng.standard_normal((d, d)))[0][: 3 * blocks].reshape(blocks, 3, d)
        for m in range(2, levels):
            codebooks[m] = codebooks[m, :, :3] @ axes[m % blocks]
    codebooks[0] += 0.5
    return codebooks.astype(np.float32)


def make_index(n=300, metric="l2", seed=0, **shape):
    """A filled IndexDRQ that needs no training."""
    index = IndexDRQ.from_codebooks(make_codebooks(**shape), METRICS[metric])
    index.add(make_vectors(n, seed, index.d))
    return index


def stock_copy(index):
    """The same index as plain FAISS reads it from a file."""
    stock = faiss.deserialize_index(faiss.serialize_index(index))
    assert type(stock) is faiss.IndexResidualQuantizer
    return stock


def codes_of(index):
    """A copy of the codes. The argument keeps a temporary index alive until they are copied."""
    return faiss.vector_to_array(index.codes)


def reconstructions(index, levels=None):
    """Vectors that the index's codes stand for, decoded with NumPy from the bytes FAISS holds."""
    nbits = int(faiss.vector_to_array(index.rq.nbits)[0])
    codes = codes_of(index)[: index.ntotal * index.code_size]
    bits = np.unpackbits(codes.reshape(index.ntotal, index.code_size), axis=1, bitorder="little")
    bits = bits[:, : index.rq.M * nbits].reshape(index.ntotal, index.rq.M, nbits)
    indices = (bits.astype(np.int64) << np.arange(nbits)).sum(2)
    codebooks = faiss.vector_to_array(index.rq.codebooks).reshape(index.rq.M, 1 << nbits, index.d)
    return reference.decode(codebooks, indices, levels or index.rq.M)


def assert_searches_right(index, x, k=10, levels=None, **arguments):
    """The index finds what NumPy finds in its codes now; `arguments` go to the search."""
    metric = {number: name for name, number in METRICS.items()}[index.metric_type]
    expected = reference.nearest(x, reconstructions(index, levels), k, metric)
    reference.assert_neighbours(index.search(x, k, **arguments), expected, scale=100)


def state_count():
    """How many indexes the plug-in knows, without those of other tests that only wait to be collected."""
    gc.collect()
    return plugin.count()
