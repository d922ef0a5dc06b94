"""Print what indexes return with the FAISS at hand, as JSON; run once for each FAISS by test_versions.py."""

import json
import pickle
import tempfile
import warnings

import faiss
import numpy as np

import drqfaiss

warnings.simplefilter("ignore", RuntimeWarning)
METRICS = (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((1500, 12)).astype(np.float32)
QUERIES = X[:9] + np.float32(0.01)


def flat(metric):
    """Everything that a flat index returns."""
    index = drqfaiss.index_factory(12, "DRQ4x6s", metric, progress=False, seed=1)
    index.train(X)
    index.add(X)
    yield from index.search(QUERIES, 5)
    few = drqfaiss.SearchParametersDRQ(levels=2, sel=faiss.IDSelectorRange(50, 300))
    yield from index.search(QUERIES, 5, params=few)
    yield from index.range_search(QUERIES, 2.0, params=few)
    yield from index.search_and_reconstruct(QUERIES, 2)
    yield index.sa_encode(QUERIES)
    index.remove_ids(np.arange(0, 100))
    with tempfile.TemporaryDirectory() as folder:
        drqfaiss.split_tail(index, 2, f"{folder}/x")
        parts = drqfaiss.read_index(f"{folder}/x")
        parts.add(X[:10])
        yield from parts.search(QUERIES, 3)
        yield from drqfaiss.join_tail(parts).search(QUERIES, 3)
        yield from drqfaiss.clone_index(parts).search_and_reconstruct(QUERIES, 2)
    index.pack()
    for other in (pickle.loads(pickle.dumps(index)), drqfaiss.clone_index(index)):
        yield from other.search(QUERIES, 3)
    yield from drqfaiss.adopt(faiss.deserialize_index(faiss.serialize_index(index))).search(QUERIES, 3)


def ivf(metric):
    """Everything that an IVF index returns."""
    coarse = faiss.IndexFlat(12, metric)
    coarse.add(X[:20])
    # Training by itself may take FAISS's own, which differs from version to version.
    options = {"layout": "shared", "progress": False, "seed": 2}
    index = drqfaiss.IndexIVFDRQ(coarse, 12, 20, 4, 6, metric, **options)
    index.train(X)
    index.add_with_ids(X, np.arange(len(X)) * 3)
    index.nprobe = 4
    yield from index.search(QUERIES, 5)
    few = drqfaiss.SearchParametersIVFDRQ(3, nprobe=6, sel=faiss.IDSelectorRange(0, 2000))
    yield from index.search(QUERIES, 5, params=few)
    yield from index.search_and_reconstruct(QUERIES, 2)
    yield index.sa_encode(QUERIES)
    lims, D, ids = index.range_search(QUERIES, 2.0)
    order = np.lexsort((ids, np.repeat(np.arange(len(QUERIES)), np.diff(lims).astype(int))))
    yield from (lims, D[order], ids[order])


def main():
    """Print capabilities and all results."""
    results = [array for metric in METRICS for kind in (flat, ivf) for array in kind(metric)]
    capabilities = drqfaiss.plugin_info()["capabilities"]
    print(json.dumps([faiss.__version__, capabilities, [array.tolist() for array in results]]))


if __name__ == "__main__":
    main()
