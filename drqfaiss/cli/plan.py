"""`drqfaiss plan`: choose the index to build for vectors to come."""

from __future__ import annotations

from typing import Any

import faiss

from drqfaiss._planning.plan import plan
from drqfaiss.cli.options import Plan, UsageError
from drqfaiss.cli.vectors import METRICS
from drqfaiss.datasets import finite_floats, open_vectors, sample_rows


def run(name: str, options: Plan) -> dict[str, Any]:
    """Plan by a sample of a file."""
    if options.memory is None and options.recall is None:
        raise UsageError("got neither --memory nor --recall, expected at least one of them")
    vectors = open_vectors(name)
    sample = sample_rows(vectors, options.sample, options.seed)
    if options.normalize:
        faiss.normalize_L2(sample)
    queries = None
    if options.queries is not None:
        queries = finite_floats(open_vectors(options.queries), normalize=options.normalize)
    found = plan(
        options.n or len(vectors),
        vectors.shape[1],
        sample=sample,
        memory=options.memory,
        recall=options.recall,
        queries=queries,
        k=options.k,
        metric=METRICS[options.metric],
        quality=options.quality,
        progress=not options.quiet,
    )
    plain = found.as_dict()
    training = plain.pop("training")
    parts = {f"{name} bytes": size for name, size in plain.pop("fixed").items()}
    each = {f"{name} bytes/vector": size for name, size in plain.pop("per_vector").items()}
    rows = [{**row, "training": _named(row["training"])} for row in plain.pop("rows")]
    return {**plain, "training": _named(training), **each, **parts, "rows": rows}


def _named(training: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in training.items())
