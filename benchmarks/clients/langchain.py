"""Measures what ``drqfaiss.adopt`` does for a LangChain store over a residual quantizer that FAISS trained.

For every way FAISS can search such an index, one store is filled, saved and loaded again; the index of the
loaded store is adopted. Both stores then answer the same queries one at a time, through LangChain, in turns.
FAISS is quoted at its best SIMD level. The last columns say how far the results of the two agree.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

# Spinning OpenMP threads distort every figure on a shared machine; libgomp reads this once, on loading.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy as np
from langchain_community.docstore.in_memory import InMemoryDocstore
from langchain_community.vectorstores import FAISS
from langchain_core.embeddings import DeterministicFakeEmbedding

import drqfaiss
from benchmarks.common import vectors
from drqfaiss.cli.timing import Task, best_times

SEARCH_TYPES = {
    "": "ST_decompress, FAISS's default",
    "_Nqint8": "ST_norm_qint8",
    "_Nfloat": "ST_norm_float",
}


@dataclass
class Line:
    """One search type: milliseconds per query and how far results agree."""

    index: str
    search_type: str
    vectors: int
    stock_ms: float
    stock_simd: str | None
    adopted_ms: float
    same_ids: float
    largest_score_difference: float

    @property
    def ratio(self) -> float:
        """How many times as fast the adopted index is."""
        return self.stock_ms / self.adopted_ms


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data = vectors.load(options)
    lines = [measure(data, options, suffix) for suffix in options.search_types]
    print(
        f"LangChain FAISS store of {data.name}, k = {options.k}, one thread, drqfaiss {drqfaiss.simd_level()}"
    )
    print("| index | stock ms/query | adopted ms/query | ratio | same ids | largest score difference |")
    print("|---|--:|--:|--:|--:|--:|")
    for line in lines:
        print(
            f"| {line.index} ({line.search_type}), {line.vectors:,} vectors | {line.stock_ms:.2f} "
            f"[{line.stock_simd}] | {line.adopted_ms:.3f} | {line.ratio:.0f} | {line.same_ids:.1%} "
            f"| {line.largest_score_difference:.1e} |"
        )
    if options.out:
        rows = [{**asdict(line), "ratio": line.ratio} for line in lines]
        Path(options.out).write_text(json.dumps(rows, indent=1) + "\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    vectors.add_options(parser)
    vectors.add_timing_options(parser)
    parser.add_argument("--index", default="RQ8x8", help="factory string of the stock index")
    parser.add_argument(
        "--search-types",
        nargs="*",
        choices=list(SEARCH_TYPES),
        default=["", "_Nfloat"],
        help="suffixes of it",
    )
    parser.add_argument("--k", type=int, default=4, help="documents per query")
    parser.add_argument("--out", help="JSON file for the figures")
    parser.set_defaults(max_queries=200)
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("--data is missing")
    return options


def measure(data: vectors.Dataset, options: argparse.Namespace, suffix: str) -> Line:
    """Time a store before and after adoption."""
    stock = fill(data, options.index + suffix)
    adopted = loaded_copy(stock)
    drqfaiss.adopt(adopted.index)

    def ask(store: FAISS) -> Task:
        return Task(
            lambda rows: [store.similarity_search_by_vector(row, options.k) for row in rows],
            own=store is adopted,
        )

    tasks = {"stock": ask(stock), "adopted": ask(adopted)}
    timings = best_times(tasks, data.query, options.runs, options.seconds, options.index + suffix)
    (D, ids), (D_adopted, ids_adopted) = (
        store.index.search(data.query, options.k) for store in (stock, adopted)
    )
    return Line(
        options.index + suffix,
        SEARCH_TYPES[suffix],
        len(data.base),
        timings["stock"].us / 1e3,
        timings["stock"].simd,
        timings["adopted"].us / 1e3,
        float((ids == ids_adopted).mean()),
        float(np.abs(D / D_adopted - 1).max()),
    )


def fill(data: vectors.Dataset, factory: str) -> FAISS:
    """Return a store with one document per base vector."""
    index = faiss.index_factory(data.d, factory, data.metric)
    print(f"training {factory}", file=sys.stderr)
    index.train(data.learn)
    store = FAISS(DeterministicFakeEmbedding(size=data.d), index, InMemoryDocstore(), {})
    names = [str(number) for number in range(len(data.base))]
    store.add_embeddings(zip(names, data.base, strict=True), ids=names)
    return store


def loaded_copy(store: FAISS) -> FAISS:
    """Return the store as LangChain loads it from files."""
    with tempfile.TemporaryDirectory() as folder:
        store.save_local(folder)
        return FAISS.load_local(folder, store.embeddings, allow_dangerous_deserialization=True)


if __name__ == "__main__":
    main()
