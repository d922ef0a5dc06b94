"""`drqfaiss eval`: measure recall and search time of an index, for settings of the user's choice."""

from __future__ import annotations

from typing import Any

import faiss

from drqfaiss.cli.options import Eval
from drqfaiss.cli.sweep import hidden, require_ranks, sweep, warning_of_spread
from drqfaiss.cli.tables import Rows
from drqfaiss.cli.truth import open_filled, read_queries, read_truth
from drqfaiss.cli.vectors import settings_of


def run(name: str, queries_name: str, options: Eval) -> dict[str, Any]:
    """Return a row of recall and time for every setting."""
    options.truth.require_one()
    index = open_filled(name)
    queries = read_queries(index, queries_name, options.normalize)
    settings = settings_of(options.sweep.settings)
    for setting in settings:  # What is refused is refused before the work.
        setting.check(index)
    require_ranks(options.sweep.k, index.ntotal)
    truth = read_truth(index, queries, options.truth, max(options.sweep.k), options.normalize)
    rows = sweep(index, queries, truth, settings, options.sweep)
    return {
        "index": name,
        "vectors": index.ntotal,
        "queries": len(queries),
        "threads": faiss.omp_get_max_threads(),
        "rows": Rows(warning_of_spread(rows), hidden=hidden(options.sweep)),
    }
