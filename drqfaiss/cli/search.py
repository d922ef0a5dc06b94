"""`drqfaiss search`: find the nearest neighbours of a file of queries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from drqfaiss._files import write_array, writing
from drqfaiss._progress import bar
from drqfaiss.cli.options import Search
from drqfaiss.cli.truth import open_filled
from drqfaiss.cli.vectors import open_for, require_output, settings_of
from drqfaiss.datasets import VectorsOnDisk, finite_floats, write_vecs

BATCH = 1024
OUTPUTS = (".npz", ".npy", ".ivecs")


def run(name: str, queries_name: str, options: Search) -> dict[str, Any]:
    """Search, and write or return the neighbours."""
    output = None if options.output is None else Path(options.output)
    if options.output is not None and output is not None:
        require_output(options.output, queries_name)
        if output.suffix.lower() not in OUTPUTS:
            raise ValueError(f"{output}: got suffix {output.suffix!r}, expected one of {', '.join(OUTPUTS)}")
    index = open_filled(name)
    (setting,) = settings_of(options.settings)
    setting.apply(index)
    queries = open_for(index, queries_name)
    began = time.perf_counter()
    distances, ids = search(index, queries, options.k, options.normalize, not options.quiet)
    seconds = time.perf_counter() - began
    if output is None:
        return {"rows": neighbours(distances, ids)}
    write(output, distances, ids)
    return {"output": str(output), "queries": len(ids), "k": options.k, "seconds": round(seconds, 3)}


def search(
    index: faiss.Index, queries: VectorsOnDisk, k: int, normalize: bool, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and ids (n, k) of queries, reading a batch at a time."""
    found = [(np.empty((0, k), np.float32), np.empty((0, k), np.int64))]
    with bar("searching", "queries", len(queries), shown=progress) as shown:
        for start in range(0, len(queries), BATCH):
            batch = finite_floats(queries, slice(start, start + BATCH), normalize)
            found.append(index.search(batch, k))
            shown.update(len(batch))
    distances, ids = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return distances, ids


def neighbours(distances: np.ndarray, ids: np.ndarray) -> list[dict[str, Any]]:
    """Return a row for every neighbour found."""
    return [
        {
            "query": int(query),
            "rank": int(rank),
            "id": int(ids[query, rank]),
            "distance": float(distances[query, rank]),
        }
        for query, rank in np.argwhere(ids >= 0)
    ]


def write(path: Path, distances: np.ndarray, ids: np.ndarray) -> None:
    """Write neighbours in the format of the file's suffix."""
    if path.suffix.lower() == ".ivecs":
        write_vecs(path, ids)
        return
    with writing(path) as file:
        if path.suffix.lower() == ".npz":
            np.savez(file, ids=ids, distances=distances)
        else:
            write_array(file, ids)
