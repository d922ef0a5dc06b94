"""Folders of shards, and the one index of the same vectors."""

from pathlib import Path

import faiss
import numpy as np

import drqfaiss
from drqfaiss.distributed import build_shards
from tests.indexes import METRICS, make_codebooks, make_vectors
from tests.ivf_indexes import make_quantizer

N = 500
KINDS = ("flat", "ivf", "ids")


def make_trained(kind="flat", metric="l2", scale=1.0):
    """An empty index that needs no training."""
    codebooks = np.float32(scale) * make_codebooks()
    if kind == "ivf":
        index = drqfaiss.IndexIVFDRQ.from_codebooks(make_quantizer(metric), codebooks, METRICS[metric])
        index.nprobe = 3
        return index
    return drqfaiss.IndexDRQ.from_codebooks(codebooks, METRICS[metric])


def make_data():
    """Vectors of which some are equal, in different shards."""
    x = make_vectors(N)
    x[N // 2 :] = x[: N // 2]
    return x


def own_ids():
    return np.random.default_rng(3).permutation(10 * N)[:N].astype(np.int64)


def make_whole(kind="flat", metric="l2"):
    """One index of all vectors."""
    index, x = make_trained(kind, metric), make_data()
    if kind == "ids":
        index = faiss.IndexIDMap(index)
        index.add_with_ids(x, own_ids())
    else:
        index.add(x)
    return index


def make_shards(folder, kind="flat", metric="l2", shards=3, **options):
    """Build a folder of shards of the same vectors in this process; return its name."""
    x = Path(folder).with_suffix(".npy")
    np.save(x, make_data())
    ids = own_ids() if kind == "ids" else None
    build_shards(make_trained(kind, metric), x, folder, shards, ids=ids, ray=False, progress=False, **options)
    return folder
