"""drqfaiss in ann-benchmarks (https://github.com/erikbern/ann-benchmarks).

This folder, without run.py, is its ann_benchmarks/algorithms/drqfaiss.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

import drqfaiss

from ..base.module import BaseANN

METRICS = {"euclidean": faiss.METRIC_L2, "angular": faiss.METRIC_INNER_PRODUCT}
MAX_TRAINING_VECTORS = 100_000
STAGES = ("levels", "refine_factor", "refine_levels")


class DRQ(BaseANN):
    """A DRQ index from a factory string; code length, probed lists and reranking are query arguments.

    Args:
        metric: "euclidean" or "angular".
        description: ``DRQ8x8``, with ``IVF…,`` before it, with ``,RFlat`` after it.
    """

    def __init__(self, metric: str, description: str) -> None:
        if metric not in METRICS:
            raise ValueError(f"metric: got {metric!r}, expected one of {sorted(METRICS)}")
        self._angular = metric == "angular"
        self._metric = METRICS[metric]
        self._description = description
        self.name = f"DRQ({description})"

    def fit(self, X: np.ndarray) -> None:
        """Train on a sample of X, shape (n, d), and add all of it."""
        X = self._vectors(X)
        self._index = drqfaiss.index_factory(X.shape[1], self._description, self._metric, progress=False)
        sample = np.random.default_rng(0).permutation(len(X))[:MAX_TRAINING_VECTORS]
        self._index.train(X[sample])
        self._index.add(X)

    def set_query_arguments(self, levels: int | list[int], *others: int) -> None:
        """Set the levels compared, then nprobe for lists, then the candidates per result for reranking.

        A second stage is asked for by [levels, refine_factor] or [levels, refine_factor, refine_levels] in
        the place of the levels.
        """
        rest = list(others)
        stages = dict(zip(STAGES, levels if isinstance(levels, list) else [levels], strict=False))
        if "IVF" in self._description:
            params = drqfaiss.SearchParametersIVFDRQ(nprobe=rest.pop(0), **stages)
        else:
            params = drqfaiss.SearchParametersDRQ(**stages)
        if isinstance(self._index, faiss.IndexRefine):
            params = faiss.IndexRefineSearchParameters(k_factor=rest.pop(0), base_index_params=params)
        if rest:
            raise ValueError(f"query arguments: {len(rest)} too many for {self._description}")
        self._params = params
        self.name = f"DRQ({self._description}, {', '.join(map(str, (levels, *others)))})"

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        """Return the ids of the n nearest vectors, on one thread."""
        faiss.omp_set_num_threads(1)
        return self._index.search(self._vectors(v[None]), n, params=self._params)[1][0]

    def batch_query(self, X: np.ndarray, n: int) -> None:
        """Search for all rows of X; ``get_batch_results`` has the ids."""
        self.res = self._index.search(self._vectors(X), n, params=self._params)[1]

    def get_additional(self) -> dict[str, Any]:
        """Return the bytes of a code."""
        return {"code_size": self._index.sa_code_size()}

    def _vectors(self, X: np.ndarray) -> np.ndarray:
        X = np.array(X, np.float32, order="C")
        if self._angular:
            faiss.normalize_L2(X)
        return X
