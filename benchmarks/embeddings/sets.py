"""The embeddings that codes are compared on: three sets by name, or any file of vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from benchmarks.embeddings import encoders
from drqfaiss.datasets import Dataset, load_dataset, read_vectors
from drqfaiss.evaluation import exact_neighbours

NEIGHBOURS = 100  # that are known of every query


@dataclass(frozen=True)
class EmbeddingSet:
    """Embeddings that lie in a folder, or are made of what lies there.

    Attributes:
        title: what a table calls it.
        source: the file that must be in the folder.
        vectors: (folder, file for what takes long) -> base vectors and queries or, if there are none, None.
        queries: to draw from the base, where there are none.
        learn: vectors to draw from the base.
        apart: whether the learn vectors leave the base.
    """

    title: str
    source: str
    vectors: Callable[[Path, Path], tuple[np.ndarray, np.ndarray | None]]
    queries: int
    learn: int
    apart: bool


def _minilm(folder: Path, cache: Path) -> tuple[np.ndarray, np.ndarray | None]:
    return read_vectors(folder / "minilm_base.npy"), read_vectors(folder / "minilm_query.npy")


def _photographs(folder: Path, cache: Path) -> tuple[np.ndarray, np.ndarray | None]:
    return _made(cache, lambda: encoders.photographs(folder / "cifar10_jpeg.npz")), None


def _sentences(folder: Path, cache: Path) -> tuple[np.ndarray, np.ndarray | None]:
    return _made(cache, lambda: encoders.sentences(folder)), None


def _made(cache: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return what a file holds, or make it and write the file."""
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.save(cache, make().astype(np.float16))
    return np.load(cache)


SETS = {
    "minilm": EmbeddingSet(
        "MiniLM: sentences, 384-d", "minilm_base.npy", _minilm, queries=0, learn=30_000, apart=False
    ),
    "glosses": EmbeddingSet(
        "USE: sentences, 512-d", "data.noun", _sentences, queries=1_000, learn=30_000, apart=True
    ),
    "photographs": EmbeddingSet(
        "EfficientNet: photographs, 1,280-d",
        "cifar10_jpeg.npz",
        _photographs,
        queries=1_000,
        learn=25_000,
        apart=False,
    ),
}


def names(data: Path) -> list[str]:
    """Return which sets there are: those whose files a folder holds, or else the files themselves.

    Raises:
        ValueError: a folder without any of them.
    """
    if not data.is_dir():
        return [str(data)]
    found = [name for name, known in SETS.items() if (data / known.source).exists()]
    if not found:
        expected = ", ".join(known.source for known in SETS.values())
        raise ValueError(f"{data}: got a folder without embeddings, expected one of {expected} in it")
    return found


def load(name: str, data: Path, cache: Path, seed: int = 0) -> Dataset:
    """Return a set with the exact neighbours of its queries.

    Args:
        name: one of `names`.
        data: the folder, or the files.
        cache: folder for embeddings that were made.
        seed: of the draws.
    """
    whole = _known(name, data, cache, seed) if name in SETS else load_dataset(name, seed=seed)
    learn, base, query = (np.ascontiguousarray(x, np.float32) for x in (whole.learn, whole.base, whole.query))
    truth = exact_neighbours(base, query, min(NEIGHBOURS, len(base)), whole.metric)
    return Dataset(whole.name, learn, base, query, truth, whole.metric)


def _known(name: str, folder: Path, cache: Path, seed: int) -> Dataset:
    known = SETS[name]
    base, query = known.vectors(folder, cache / f"{name}.npy")
    order = np.random.default_rng(seed).permutation(len(base))
    if query is None:
        query, order = base[order[: known.queries]], order[known.queries :]
    learn, kept = base[order[: known.learn]], order[known.learn :] if known.apart else order
    return Dataset(name, learn, base[np.sort(kept)], query, None, faiss.METRIC_INNER_PRODUCT)
