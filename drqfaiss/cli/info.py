"""`drqfaiss info`: tell versions and how the plug-in found FAISS, or describe an index file."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import faiss
import numpy as np

import drqfaiss
from drqfaiss._check import METRIC_NAMES
from drqfaiss._core import StoredTail
from drqfaiss._faiss.tail import with_tail
from drqfaiss._indexes.engines import flat_engine
from drqfaiss._indexes.nested import residual_quantizers
from drqfaiss._plugin.available import has
from drqfaiss.cli.options import Info


def run(name: str | None, options: Info) -> dict[str, Any]:
    """Describe the installation or an index."""
    if name is None:
        return installation()
    index = drqfaiss.read_index(name)
    tail = tail_of(index)
    if options.check:
        if tail is None:
            raise ValueError(f"{name}: got an index without a side file, expected one to check")
        drqfaiss.check_tail(tail.name)
    return described(index)


def installation() -> dict[str, Any]:
    """Collect what a bug report needs, after the plug-in's check of FAISS."""
    info = drqfaiss.plugin_info()
    return {
        "drqfaiss": version("drqfaiss"),
        "faiss": f"{faiss.__version__} ({info['library'] or faiss.__file__})",
        "faiss_build": f"{info['build_id'] or 'not looked at'} ({info['known'] or 'unknown'})",
        "numpy": np.__version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "simd_level": drqfaiss.simd_level(),
        "inside_faiss": [name for name, reason in info["capabilities"].items() if not reason],
        "not_inside_faiss": [f"{name}: {reason}" for name, reason in info["capabilities"].items() if reason],
        "threads": f"{faiss.omp_get_max_threads()} ({_openmp()})",
    }


def _openmp() -> str:
    """Return the OpenMP runtime that tells how many threads to use."""
    return str(drqfaiss._core.plugin.facts()["openmp"]) if has("flat") else "this process's CPUs"


def described(index: faiss.Index) -> dict[str, Any]:
    """Tell what an index is, and what residual quantizers it holds."""
    ivf = faiss.try_extract_index_ivf(index)
    quantizers, tail = list(residual_quantizers(index)), tail_of(index)
    return {
        "index": type(index).__name__,
        "d": index.d,
        "vectors": index.ntotal,
        "metric": METRIC_NAMES.get(index.metric_type, str(index.metric_type)),
        "levels": _one_or_all([quantizer.rq.M for quantizer in quantizers]),
        "bits": _one_or_all([_bits(quantizer) for quantizer in quantizers]),
        "code_bytes": code_bytes(index),
        "tail": None if tail is None else tail.name,
        "tail_levels": None if tail is None else len(tail.nbits),
        "tail_bytes": None if tail is None else tail.row_bytes,
        "lists": None if ivf is None else ivf.nlist,
        "nprobe": None if ivf is None else ivf.nprobe,
    }


def tail_of(index: faiss.Index) -> StoredTail | None:
    """Return the levels of an index that are in a side file."""
    head = with_tail(index)
    return None if head is None else flat_engine().tail(head)


def code_bytes(index: faiss.Index) -> int | None:
    """Return the bytes of a vector's code, None for an index without a codec."""
    try:
        return index.sa_code_size()
    except RuntimeError:
        return None


def _bits(quantizer: faiss.IndexResidualQuantizer) -> int | str:
    """Return the bits of a level; in text, if levels have different ones."""
    found = sorted(set(faiss.vector_to_array(quantizer.rq.nbits).tolist()))
    return found[0] if len(found) == 1 else "/".join(map(str, found))


def _one_or_all(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values or None
