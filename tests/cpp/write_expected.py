"""Writes what the C++ test reads: index files, queries, and what Python's searches of them return.

Usage: python write_expected.py FOLDER
"""

import sys
from pathlib import Path

import faiss
import numpy as np

from drqfaiss import IndexDRQ, SearchParametersDRQ, write_index
from drqfaiss.datasets import write_vecs

D, M, K = 24, 5, 10
METRICS = {"l2": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT}


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    base, x = (rng.normal(size=(n, D)).astype(np.float32) for n in (3000, 20))
    folder.mkdir(parents=True, exist_ok=True)
    write_vecs(folder / "base.fvecs", base)
    write_vecs(folder / "query.fvecs", x)
    for metric, number in METRICS.items():
        for nbits in (8, 4, 6):
            index = IndexDRQ(D, M, nbits, number, iterations=4, progress=False)
            index.train(base)
            index.add(base)
            write(folder, f"{metric}{nbits}", index, x)
    stock = faiss.IndexResidualQuantizer(D, 3, 6, faiss.METRIC_L2, faiss.AdditiveQuantizer.ST_norm_float)
    stock.train(base)
    stock.add(base)
    faiss.write_index(stock, str(folder / "stock.faiss"))


def write(folder: Path, name: str, index: IndexDRQ, x: np.ndarray) -> None:
    """Write an index, its codes, and distances and ids of its searches at every code length."""
    write_index(index, folder / f"{name}.faiss")
    write_vecs(folder / f"{name}.codes.bvecs", faiss.vector_to_array(index.codes).reshape(index.ntotal, -1))
    found = [index.search(x, K, params=SearchParametersDRQ(levels)) for levels in range(1, M + 1)]
    write_vecs(folder / f"{name}.fvecs", np.concatenate([D for D, _ in found]))
    write_vecs(folder / f"{name}.ivecs", np.concatenate([ids for _, ids in found]).astype(np.int32))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
