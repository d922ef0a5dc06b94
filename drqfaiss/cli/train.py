"""`drqfaiss train`: train an empty index on a file of vectors."""

from __future__ import annotations

import time
from typing import Any

import faiss

from drqfaiss._faiss.factory import index_factory
from drqfaiss._faiss.io import write_index
from drqfaiss.cli.options import Train
from drqfaiss.cli.vectors import METRICS, require_output, training_of
from drqfaiss.datasets import open_vectors, sample_rows


def run(name: str, options: Train) -> dict[str, Any]:
    """Train and write an empty index."""
    require_output(options.output, name)
    vectors = open_vectors(name)
    training = training_of(options, options.factory)
    index = index_factory(vectors.shape[1], options.factory, METRICS[options.metric], **training)
    learn = sample_rows(vectors, options.learn, options.seed)
    if options.normalize:
        faiss.normalize_L2(learn)
    began = time.perf_counter()
    index.train(learn)
    seconds = time.perf_counter() - began
    write_index(index, options.output)
    return {
        "output": options.output,
        "factory": options.factory,
        "d": index.d,
        "learned_rows": len(learn),
        "seconds": round(seconds, 3),
    }
