"""Small IVF indexes, and what their searches must return according to NumPy."""

import faiss
import numpy as np

from drqfaiss import IndexIVFDRQ
from tests import reference
from tests.indexes import METRICS, NBITS, D, M, make_codebooks, make_vectors

NLIST = 8


def make_quantizer(metric="l2", nlist=NLIST, spread=2.0, offset=0.0):
    quantizer = faiss.IndexFlat(D, METRICS[metric])
    quantizer.add(spread * make_vectors(nlist, seed=77) + np.float32(offset))
    return quantizer


def make_ivf(n=300, metric="l2", by_residual=True, seed=0, nprobe=3, offset=0.0, **shape):
    """A filled IndexIVFDRQ that needs no training."""
    quantizer = make_quantizer(metric, offset=offset)
    index = IndexIVFDRQ.from_codebooks(quantizer, make_codebooks(**shape), METRICS[metric], by_residual)
    index.add(make_vectors(n, seed) * 2 + np.float32(offset))
    index.nprobe = nprobe
    return index


def stock_copy(index):
    """The same index as plain FAISS reads it from a file."""
    stock = faiss.deserialize_index(faiss.serialize_index(index))
    assert type(stock) is faiss.IndexIVFResidualQuantizer
    return stock


def list_contents(index, number):
    """The ids and codes in a list."""
    lists, n = faiss.downcast_InvertedLists(index.invlists), index.invlists.list_size(number)
    if n == 0:
        return np.empty(0, np.int64), np.empty((0, index.code_size), np.uint8)
    ids, codes = lists.get_ids(number), lists.get_codes(number)
    rows = faiss.rev_swig_ptr(codes, n * index.code_size).reshape(n, -1).copy()
    return faiss.rev_swig_ptr(ids, n).copy(), rows


def vectors_by_list(index, levels=None):
    """Ids and reconstructions of each list, decoded with NumPy from the bytes FAISS holds."""
    nbits = index.rq.nbits.at(0)
    codebooks = faiss.vector_to_array(index.rq.codebooks).reshape(index.rq.M, 1 << nbits, index.d)
    coarse = faiss.downcast_index(index.quantizer)
    contents = []
    for number in range(index.nlist):
        ids, codes = list_contents(index, number)
        bits = np.unpackbits(codes, axis=1, bitorder="little")[:, : index.rq.M * nbits]
        indices = (bits.reshape(len(codes), index.rq.M, nbits).astype(np.int64) << np.arange(nbits)).sum(2)
        vectors = reference.decode(codebooks, indices, levels or index.rq.M)
        if index.by_residual:
            vectors = vectors + coarse.reconstruct(number)
        contents.append((ids, vectors))
    return contents


def nearest(index, x, k, levels=None, nprobe=None, selected=lambda ids: ids >= 0):
    """What a search has to find: distances and ids (n, k), ties by id, −1 where there is nothing."""
    contents = vectors_by_list(index, levels)
    _, keys = index.quantizer.search(x, nprobe or index.nprobe)
    sign = 1 if index.metric_type == faiss.METRIC_L2 else -1
    worst = sign * np.finfo(np.float32).max
    D_expected, ids_expected = np.full((len(x), k), worst), np.full((len(x), k), -1)
    for i, query in enumerate(x):
        ids = np.concatenate([contents[key][0] for key in keys[i]])
        vectors = np.concatenate([contents[key][1] for key in keys[i]])
        ids, vectors = ids[selected(ids)], vectors[selected(ids)]
        metric = "l2" if sign == 1 else "ip"
        distances = reference.distances(query[None], vectors, metric)[0]
        order = np.lexsort((ids, sign * distances))[:k]
        D_expected[i, : len(order)], ids_expected[i, : len(order)] = distances[order], ids[order]
    return D_expected, ids_expected


def assert_searches_right(index, x, k=7, levels=None, nprobe=None, selected=None, scale=100, **arguments):
    """The index finds what NumPy finds in its lists now; `arguments` go to the search."""
    extra = {} if selected is None else {"selected": selected}
    expected = nearest(index, x, k, levels, nprobe, **extra)
    reference.assert_neighbours(index.search(x, k, **arguments), expected, scale)


__all__ = ["METRICS", "NBITS", "NLIST", "D", "M", "make_vectors"]
