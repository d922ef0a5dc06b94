"""The IVF part of the check at import: fields, and tiny searches beside FAISS's own.

What no proxy shows (slots of scanners, fields of result handlers) is compared by what searches return.
"""

import ctypes
from typing import Any

import faiss
import numpy as np

from drqfaiss._core import plugin
from drqfaiss._faiss_layout import (
    BOOL,
    INT32,
    INT64,
    address,
    allocated,
    field,
    followed,
    only,
    places,
    require_seen,
)

_D, _NLIST, _LEVELS, _NBITS = 6, 3, 2, 4  # so few vectors have codes of their own: no ties


def make_probe() -> faiss.IndexIVFResidualQuantizer:
    """Return an index to measure; nothing is searched in it."""
    return faiss.IndexIVFResidualQuantizer(faiss.IndexFlatL2(24), 24, 2, 3, 5)


def offsets(index: faiss.IndexIVFResidualQuantizer) -> dict[str, int]:
    """Return where the index, its lists, scanner, search parameters and statistics have their fields."""
    found = {
        "ivf_quantizer": _pointer("quantizer", index, index.quantizer),
        "ivf_invlists": _pointer("invlists", index, index.invlists),
        "ivf_by_residual": _field(index, "by_residual", "<?", BOOL),
        "ivf_parallel_mode": _field(index, "parallel_mode", "<i", INT32),
        "ivf_rq": address(index.rq) - address(index),
    }
    for name in ("nlist", "nprobe", "max_codes", "code_size"):
        found[f"ivf_{name}"] = _field(index, name, "<q", INT64)
    lists = index.invlists
    found["lists_use_iterator"] = _field(lists, "use_iterator", "<?", BOOL)
    return found | _scanner_offsets(index) | _parameter_offsets() | _stats_offsets()


def _scanner_offsets(index: faiss.IndexIVFResidualQuantizer) -> dict[str, int]:
    scanner = index.get_InvertedListScanner(False, None, None)
    selectors = [faiss.IDSelectorRange(0, 1), faiss.IDSelectorRange(0, 1)]
    return {
        "scanner_list_no": _field(scanner, "list_no", "<q", INT64),
        "scanner_keep_max": _field(scanner, "keep_max", "<?", BOOL),
        "scanner_store_pairs": _field(scanner, "store_pairs", "<?", BOOL),
        "scanner_code_size": _field(scanner, "code_size", "<q", INT64),
        "scanner_sel": _pointer_field(scanner, "sel", selectors),
    }


def _parameter_offsets() -> dict[str, int]:
    parameters = faiss.SearchParametersIVF()
    names = ("nprobe", "max_codes", "max_lists_num", "max_empty_result_buckets")
    found = {f"params_{name}": _field(parameters, name, "<q", INT64) for name in names}
    contexts = np.empty(2, np.uint8)  # any two addresses
    found["params_inverted_list_context"] = _pointer_field(
        parameters, "inverted_list_context", [faiss.swig_ptr(contexts), faiss.swig_ptr(contexts[1:])]
    )
    return found


def _stats_offsets() -> dict[str, int]:
    stats = faiss.IndexIVFStats()
    return {f"stats_{name}": _field(stats, name, "<q", INT64) for name in ("nq", "nlist", "ndis")}


def _field(proxy: Any, name: str, kind: str, values: tuple[Any, ...]) -> int:
    return field(proxy, name, kind, values, address(proxy), allocated(address(proxy)))


def _pointer(name: str, index: Any, target: Any) -> int:
    """Return the only offset that holds the address of an object."""
    memory = ctypes.string_at(address(index), allocated(address(index)))
    return only(name, places(memory, "<Q", address(target)))


def _pointer_field(proxy: Any, name: str, targets: list[Any]) -> int:
    by_address = {int(getattr(target, "this", target)): target for target in targets}
    start = address(proxy)
    offset = followed(
        name, "<Q", by_address, lambda value: setattr(proxy, name, by_address[value]), start, allocated(start)
    )
    setattr(proxy, name, None)
    return offset


def check_description(index: faiss.IndexIVFResidualQuantizer) -> None:
    """Require that the plug-in reads from the probe what its proxies say."""
    index.ntotal, index.is_trained = 3, True
    faiss.copy_array_to_vector(np.zeros(3 * 32 * 24, np.float32), index.rq.codebooks)
    names = ("d", "ntotal", "is_trained", "metric_type", "nlist", "nprobe", "max_codes", "code_size")
    expected = {name: getattr(index, name) for name in (*names, "parallel_mode", "by_residual")}
    expected |= {"nbits": [5, 5, 5], "codebooks_size": index.rq.codebooks.size()}
    expected |= {name: getattr(index.rq, name) for name in ("search_type", "max_beam_size", "norm_bits")}
    expected |= {"quantizer": address(index.quantizer), "invlists": address(index.invlists)}
    require_seen("probe IVF index", plugin.describe_ivf(address(index)), expected)


def check_search() -> None:
    """Require that tiny searches in our index and FAISS's own find the same and count the same."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # starting FAISS's threads would take longer than all the rest
    try:
        _check_search()
    finally:
        faiss.omp_set_num_threads(threads)


def _check_search() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, _D)).astype(np.float32)
    codebooks = rng.standard_normal(_LEVELS * 2**_NBITS * _D).astype(np.float32)
    for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
        stock, ours = _small_index(x, codebooks, metric), _small_index(x, codebooks, metric)
        plugin.adopt(address(ours))
        # The first is searched list by list; the others by FAISS, with our scanner.
        for parallel_mode, max_codes in ((0, 0), (3, 0), (0, 9), (0, 17)):
            expected, seen = (_search(index, x[:3], parallel_mode, max_codes) for index in (stock, ours))
            what = f"IVF search with parallel_mode {parallel_mode}, max_codes {max_codes}, metric {metric}"
            if not np.array_equal(expected[1], seen[1]):
                raise RuntimeError(f"{what} finds {seen[1].tolist()}, expected {expected[1].tolist()}")
            if not np.allclose(expected[0], seen[0], rtol=0, atol=1e-4):
                raise RuntimeError(f"{what} returns distances {seen[0]}, expected {expected[0]}")
            compared = slice(None) if parallel_mode or max_codes else slice(3)
            if expected[2][compared] != seen[2][compared]:
                raise RuntimeError(
                    f"{what} counts nq, nlist, ndis, nheap_updates {seen[2]}, expected {expected[2]}"
                )


def _small_index(x: np.ndarray, codebooks: np.ndarray, metric: int) -> faiss.IndexIVFResidualQuantizer:
    index = faiss.IndexIVFResidualQuantizer(
        faiss.IndexFlat(_D, metric),
        _D,
        _NLIST,
        _LEVELS,
        _NBITS,
        metric,
        faiss.AdditiveQuantizer.ST_decompress,
    )
    index.quantizer.add(x[:_NLIST])
    faiss.copy_array_to_vector(codebooks, index.rq.codebooks)
    index.rq.is_trained = index.is_trained = True
    index.add(x)
    return index


def _search(
    index: faiss.IndexIVFResidualQuantizer, x: np.ndarray, parallel_mode: int, max_codes: int
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return distances, ids, and what the search counted."""
    index.parallel_mode, index.max_codes, index.nprobe = parallel_mode, max_codes, _NLIST
    D, ids = np.empty((len(x), 4), np.float32), np.empty((len(x), 4), np.int64)
    centroid_distances, keys = index.quantizer.search(x, _NLIST)
    stats = faiss.IndexIVFStats()
    index.search_preassigned_c(
        len(x),
        faiss.swig_ptr(x),
        D.shape[1],
        faiss.swig_ptr(keys),
        faiss.swig_ptr(centroid_distances),
        faiss.swig_ptr(D),
        faiss.swig_ptr(ids),
        False,
        None,
        stats,
    )
    return D, ids, [stats.nq, stats.nlist, stats.ndis, stats.nheap_updates]
