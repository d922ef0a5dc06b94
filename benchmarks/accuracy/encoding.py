"""What more work at encoding is worth: wider beams, and local search over the finished codes.

Run it on learn vectors alone (``--hold-out``). The quantizer has eight levels and an own first codebook.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy as np

from benchmarks.common import report, vectors
from drqfaiss.datasets import Dataset
from drqfaiss.evaluation import exact_neighbours, recall_at
from drqfaiss.quantizer import Quantizer

BEAMS = (1, 4, 8, 32, 128)
SEARCHED = (8, 32)  # beams whose codes local search starts from
LENGTHS = (2, 4, 8)
MOST_SWEEPS = 5
NOTES = """
- Local search: every level in turn takes the codeword that is best with those of all other levels, until
  nothing changes; in NumPy, so untimed.
- Changed: share of the vectors whose code local search changes. Error: share of the variance of base vectors.
""".strip()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    vectors.add_options(parser)
    parser.add_argument("--metric", choices=vectors.METRICS, help="default: what the file says, else l2")
    parser.add_argument("--out", default="demo-out", help="output folder")
    options = parser.parse_args(arguments)
    faiss.omp_set_num_threads(1)
    data = vectors.load(options, vectors.METRICS.get(options.metric))
    data.groundtruth = exact_neighbours(data.base, data.query, k=1, metric=data.metric)
    quantizer = Quantizer.train(
        data.learn, layout="shared", own_first=True, seed=options.seed, progress=False
    )
    columns = ["encoding", "µs/vector", "changed", *(f"error at {L}" for L in LENGTHS), "1@1", "1@10"]
    table = report.page(report.machine(data, options.seed, "1"), columns, lines(quantizer, data), NOTES)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "encoding.md").write_text(table + "\n")
    print(table)


def lines(quantizer: Quantizer, data: Dataset) -> list[list[str]]:
    """Return a row per beam, and one with local search after it where SEARCHED says so."""
    rows = []
    for beam in BEAMS:
        start = time.process_time()
        codes = quantizer.encode(data.base, beam)
        us = (time.process_time() - start) / len(data.base) * 1e6
        rows.append([f"beam {beam}", f"{us:.0f}", "", *figures(quantizer, codes, data)])
        if beam in SEARCHED:
            better = local_search(quantizer, codes, data.base)
            changed = (better != codes).any(1).mean()
            row = [f"beam {beam}, local search", "", f"{changed:.3f}", *figures(quantizer, better, data)]
            rows.append(row)
    return rows


def figures(quantizer: Quantizer, codes: np.ndarray, data: Dataset) -> list[str]:
    """Return the errors of the prefixes, 1@1 and 1@10 of the whole code."""
    variance = np.square(data.base - data.base.mean(0)).sum(dtype=float)
    errors = [np.square(data.base - quantizer.decode(codes, L)).sum(dtype=float) / variance for L in LENGTHS]
    flat = faiss.IndexFlat(data.d, data.metric)
    flat.add(quantizer.decode(codes))
    ids = flat.search(data.query, 10)[1]
    return [f"{figure:.4f}" for figure in errors] + [
        f"{recall_at(ids, data.groundtruth, k):.3f}" for k in (1, 10)
    ]


def local_search(quantizer: Quantizer, codes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Lower the error of codes (n, M) one level at a time, for as long as that changes any."""
    codebooks = quantizer.codebooks()
    half_norms = 0.5 * np.square(codebooks).sum(2)
    codes, residual = codes.copy(), x - quantizer.decode(codes)
    for _ in range(MOST_SWEEPS):
        before = codes.copy()
        for m, codebook in enumerate(codebooks):
            residual += codebook[codes[:, m]]
            codes[:, m] = (residual @ codebook.T - half_norms[m]).argmax(1)
            residual -= codebook[codes[:, m]]
        if (codes == before).all():
            break
    return codes


if __name__ == "__main__":
    main()
