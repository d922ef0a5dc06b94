"""How training and encoding grow with the dimensions, beside the rotation that both need once.

Times are CPU seconds of one thread, memory is the peak of the process less what it held before. Vectors are
drawn, so that there are some of every number of dimensions: a few directions stand out over noise.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read once, when NumPy is imported

import faiss
import numpy as np

import drqfaiss

VECTORS, ENCODED, DIRECTIONS = 6_000, 1_000, 64
OPTIONS = {"layout": "blocks", "global_levels": 4, "quality": "fast", "progress": False}
HEADER = "| dimensions | training, s | of these, the rotation | encoding, µs a vector | peak, MB |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--dimensions", default="384,768,1536,3072", help="each in a process of its own")
    parser.add_argument("--levels", type=int, default=32)
    parser.add_argument("--vectors", type=int, default=VECTORS)
    options = parser.parse_args(arguments)
    dimensions = [int(number) for number in options.dimensions.split(",")]
    if len(dimensions) == 1:
        print(row(dimensions[0], options.levels, options.vectors))
        return
    print(f"{HEADER}\n|--:|--:|--:|--:|--:|", flush=True)
    for d in dimensions:  # in a process of its own: a peak is never lower than before
        own = ["--dimensions", str(d), "--levels", str(options.levels), "--vectors", str(options.vectors)]
        subprocess.run([sys.executable, "-m", "benchmarks.embeddings.growth", *own], check=True)


def row(d: int, levels: int, n: int) -> str:
    """Return a line of the table."""
    import resource

    faiss.omp_set_num_threads(1)
    x = drawn(n, d)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    quantizer = drqfaiss.Quantizer.train(x, levels, 8, **OPTIONS)
    training = time.process_time() - start
    start = time.process_time()
    quantizer.encode(x[:ENCODED])
    encoding = (time.process_time() - start) / len(x[:ENCODED])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held
    start = time.process_time()
    np.linalg.eigh(np.cov(x.T))
    rotation = time.process_time() - start
    return f"| {d:,} | {training:.1f} | {rotation:.1f} | {encoding * 1e6:,.0f} | {peak / 1024:,.0f} |"


def drawn(n: int, d: int) -> np.ndarray:
    """Return unit vectors (n, d) with a few directions in which they vary more."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, DIRECTIONS)) @ rng.standard_normal((DIRECTIONS, d))
    x += 2 * rng.standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    main()
