"""The indexes ``measure.py`` compares: what each is, how it is built and kept, what its searches may vary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path

import faiss
import numpy as np

import drqfaiss
from benchmarks.common.methods import FLOAT_NORM_BYTES
from drqfaiss.datasets import Dataset

IVF_PQ, IVF_RQ, FAST_SCAN, HNSW = "IVFPQ", "IVF-RQ", "IVFPQ fast-scan", "HNSW"
DRQ, DRQ_SHORT = "DRQ", "DRQ trained for half"
SAME_MEMORY = ", 4 bytes more"  # what DRQ's cached norm takes, spent on a longer code
REFINED = "+RFlat"
HALF_WEIGHTED = " half weighted"  # DRQ trained to serve half of its levels, too
HALF_WEIGHT = 4.0  # of the error that half of the levels leave, that of all levels counting 1
K_FACTORS = [4, 16]
EF_SEARCH = [16, 32, 64, 128, 256, 512]
WRITE_BUFFER = 1 << 20


@dataclass(frozen=True)
class Method:
    """One index.

    Attributes:
        name: what table and plot call it.
        family: methods that count as one competitor: the better of them at each recall.
        description: FAISS's factory string, ours where DRQ is in it.
        sweep: the values of each search parameter; every combination is measured.
        training: options of DRQ's training.
        by_residual: codes stand for what the coarse centroid leaves over; None: FAISS's default.
    """

    name: str
    family: str
    description: str
    sweep: dict[str, list[int]]
    training: dict[str, object] = field(default_factory=dict)
    by_residual: bool | None = None

    @property
    def own(self) -> bool:
        """Whether the index is ours."""
        return "DRQ" in self.description

    @property
    def nested(self) -> bool:
        """Whether a search for fewer results finds the first of a search for more."""
        return not {"k_factor_rf", "efSearch"} & self.sweep.keys()

    def settings(self) -> Iterator[dict[str, int]]:
        """Yield every combination of search parameters."""
        for values in product(*self.sweep.values()):
            yield dict(zip(self.sweep, values, strict=True))


def drq_name(levels: int) -> str:
    """Name an index of so many levels of 8 bits."""
    return f"DRQ{levels}x8"


def all_methods(
    d: int, metric: int, nlist: int, code_bytes: int, nprobes: list[int], seed: int
) -> list[Method]:
    """Return every method for codes of ``code_bytes`` bytes."""
    return [*_own(nlist, code_bytes, nprobes, seed), *_peers(d, nlist, code_bytes, nprobes, metric)]


def _own(nlist: int, m: int, nprobes: list[int], seed: int) -> list[Method]:
    training = {"seed": seed, "progress": False}
    own_first = {**training, "own_first": True}
    half_weighted = {**training, "prefix_weights": {m // 2: HALF_WEIGHT, m: 1.0}}
    finer = sorted({*nprobes, *((a + b) // 2 for a, b in pairwise(nprobes))})

    def method(code: str, family: str, levels: list[int], more: str = "", **variant: object) -> Method:
        sweep = {"nprobe": finer, "levels": levels}
        return Method(code + more, family, f"IVF{nlist},{code}", sweep, **{"training": training, **variant})

    lengths = sorted({m // 2, 3 * m // 4, m})
    short = {"nprobe": nprobes, "levels": [m // 2]}
    refined = {"nprobe": nprobes, "levels": [m // 2, m], "k_factor_rf": K_FACTORS}
    return [
        method(drq_name(m), DRQ, lengths),
        method(drq_name(m), DRQ, [m // 2, m], " vector", training={**training, "scale": "vector"}),
        method(drq_name(m), DRQ, [m // 2, m], " no residual", by_residual=False),
        method(
            drq_name(m), DRQ, [m // 2, m], " no residual own first", training=own_first, by_residual=False
        ),
        method(drq_name(m), DRQ, [m // 2, m], HALF_WEIGHTED, training=half_weighted),
        method(f"DRQ{2 * m}x4", DRQ, [2 * length for length in lengths]),
        Method(drq_name(m // 2), DRQ_SHORT, f"IVF{nlist},{drq_name(m // 2)}", short, training),
        Method(drq_name(m) + REFINED, DRQ + REFINED, f"IVF{nlist},{drq_name(m)},RFlat", refined, training),
    ]


def _peers(d: int, nlist: int, m: int, nprobes: list[int], metric: int) -> list[Method]:
    def method(name: str, family: str, code: str, blocks: int = 1, **more: list[int]) -> Method:
        return Method(name, family, _padding(d, blocks) + f"IVF{nlist},{code}", {"nprobe": nprobes, **more})

    def product_quantizers(m: int, more: str) -> list[Method]:
        # "np" leaves out the polysemous training, which takes time and changes no plain search.
        return [
            method(f"PQ{m}x8", IVF_PQ + more, f"PQ{m}x8np", m),
            method(f"PQ{2 * m}x4fs", FAST_SCAN + more, f"PQ{2 * m}x4fs", 2 * m),
            method(f"PQ{2 * m}x4fsr", FAST_SCAN + more, f"PQ{2 * m}x4fsr", 2 * m),
        ]

    l2 = metric == faiss.METRIC_L2
    norms = ["float", "qint8"] if l2 else ["none"]
    refine = {"k_factor_rf": K_FACTORS}
    return [
        *product_quantizers(m, ""),
        *(product_quantizers(m + FLOAT_NORM_BYTES, SAME_MEMORY) if l2 else []),
        *(method(f"RQ{m}x8 N{norm}", IVF_RQ, f"RQ{m}x8_N{norm}") for norm in norms),
        method(f"PQ{m}x8{REFINED}", IVF_PQ + REFINED, f"PQ{m}x8np,RFlat", m, **refine),
        method(f"PQ{2 * m}x4fs{REFINED}", FAST_SCAN + REFINED, f"PQ{2 * m}x4fs,RFlat", 2 * m, **refine),
        Method("HNSW32", HNSW, "HNSW32", {"efSearch": EF_SEARCH}),
    ]


def _padding(d: int, blocks: int) -> str:
    """Return the factory's prefix for zero dimensions where the subspaces do not divide d."""
    return f"Pad{-(-d // blocks) * blocks}," if d % blocks else ""


def choose(methods: list[Method], names: list[str]) -> list[Method]:
    """Return the methods of these names, all of them if there are none.

    Raises:
        ValueError: an unknown name.
    """
    known = {method.name: method for method in methods}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"methods {unknown}; expected some of {list(known)}")
    return [known[name] for name in names] or methods


class Builder:
    """Builds indexes on the same coarse centroids; with a folder, keeps them there and reads them back."""

    def __init__(self, data: Dataset, nlist: int, folder: Path | None) -> None:
        self.data = data
        self.folder = folder and folder / f"{data.name}-{len(data.learn)}-{len(data.base)}-{nlist}"
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.centroids = self._centroids(nlist)

    def _centroids(self, nlist: int) -> np.ndarray:
        """Train the coarse quantizer as FAISS does, (nlist, d)."""
        path = self.folder and self.folder / "centroids.npy"
        if path and path.exists():
            return np.load(path)
        coarse = faiss.index_factory(self.data.d, f"IVF{nlist},Flat", self.data.metric)
        coarse.train(self.data.learn)
        centroids = coarse.quantizer.reconstruct_n(0, nlist)
        if path:
            np.save(path, centroids)
        return centroids

    def build(self, method: Method) -> tuple[faiss.Index, float]:
        """Train and fill an index, or read it back; return it and its bytes per vector, all counted."""
        path = self.folder and self.folder / f"{method.name}.faiss"
        size = path and path.with_suffix(".bytes")
        if size and size.exists():
            read = drqfaiss.read_index if method.own else faiss.read_index
            return read(str(path)), float(size.read_text())
        index, bytes_per_vector = self._fill(method)
        if size:
            faiss.write_index(index, str(path))
            size.write_text(f"{bytes_per_vector}\n")
        return index, bytes_per_vector

    def _fill(self, method: Method) -> tuple[faiss.Index, float]:
        data = self.data
        factory = drqfaiss.index_factory if method.own else faiss.index_factory
        index = factory(data.d, method.description, data.metric, **method.training)
        _prepare(index, self.centroids, method.by_residual)
        index.train(data.learn)
        empty_bytes = _written_bytes(index)
        index.add(data.base)
        cached_norm = FLOAT_NORM_BYTES if method.own and data.metric == faiss.METRIC_L2 else 0
        return index, (_written_bytes(index) - empty_bytes) / index.ntotal + cached_norm


def _prepare(index: faiss.Index, centroids: np.ndarray, by_residual: bool | None) -> None:
    """Give an IVF index its coarse centroids; training then leaves them alone."""
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is None:
        return
    # The factory's Pad appends zero dimensions.
    ivf.quantizer.add(np.pad(centroids, ((0, 0), (0, ivf.d - centroids.shape[1]))))
    if by_residual is not None:
        ivf.by_residual = by_residual


def _written_bytes(index: faiss.Index) -> int:
    """Return how long the index's file would be."""
    sizes: list[int] = []
    writer = faiss.PyCallbackIOWriter(lambda block: sizes.append(len(block)), WRITE_BUFFER)
    faiss.write_index(index, writer)
    return sum(sizes)


class Search:
    """A filled index, searched with certain parameters."""

    def __init__(
        self, index: faiss.Index, drq: drqfaiss.IndexIVFDRQ | None, settings: dict[str, int]
    ) -> None:
        self.index, self.drq = index, drq
        self.levels = settings.get("levels")
        stock = {name: value for name, value in settings.items() if name != "levels"}
        self.parameters = ",".join(f"{name}={value}" for name, value in stock.items())

    def prepare(self) -> None:
        """Set the parameters; searches of one index share it."""
        faiss.ParameterSpace().set_index_parameters(self.index, self.parameters)
        if self.levels:
            self.drq.levels = self.levels

    def ids(self, queries: np.ndarray, k: int, batch: int) -> np.ndarray:
        """Return the ids found, (queries, k), with ``batch`` queries per call."""
        parts = (queries[i : i + batch] for i in range(0, len(queries), batch))
        return np.concatenate([self.index.search(part, k)[1] for part in parts])


def searches(method: Method, index: faiss.Index) -> Iterator[tuple[dict[str, int], Search]]:
    """Yield every setting of a method and the search with it."""
    drq = drqfaiss.adopt(faiss.downcast_index(faiss.extract_index_ivf(index))) if method.own else None
    for settings in method.settings():
        yield settings, Search(index, drq, settings)
