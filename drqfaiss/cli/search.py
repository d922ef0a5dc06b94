"""Find the nearest neighbours of a file of queries.

Without OUTPUT they are printed, a line each. OUTPUT is .npz (arrays ids and distances), .npy or .ivecs
(ids). Ids of -1 say that there were fewer than k vectors.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from drqfaiss._files import write_array, writing
from drqfaiss._progress import bar
from drqfaiss.cli import options as shared
from drqfaiss.cli.truth import open_filled
from drqfaiss.datasets import VectorsOnDisk, finite_floats, write_vecs

BATCH = 1024
OUTPUTS = (".npz", ".npy", ".ivecs")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``run`` reads."""
    parser.add_argument("index", help="index file")
    parser.add_argument("queries", help=shared.VECTORS_HELP)
    parser.add_argument(
        "-k", type=shared.positive, default=10, metavar="K", help="neighbours per query (default: 10)"
    )
    parser.add_argument("-o", "--output", help="file to write: .npz, .npy or .ivecs")
    shared.add_normalize(parser)
    shared.add_settings(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Search, and write or return the neighbours."""
    output = None if options.output is None else Path(options.output)
    if output is not None:
        shared.require_output(options.output, options.queries)
        if output.suffix.lower() not in OUTPUTS:
            raise ValueError(f"{output}: got suffix {output.suffix!r}, expected one of {', '.join(OUTPUTS)}")
    index = open_filled(options.index)
    (setting,) = shared.settings_of(options)
    setting.apply(index)
    queries = shared.open_for(index, options.queries)
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
