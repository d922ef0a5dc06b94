"""The IVF part of the check of FAISS: fields, and tiny searches beside FAISS's own.

What no proxy shows (slots of scanners, fields of result handlers) is compared by what searches return. On a
library that we do not know this happens in a child process first, as a wrong guess would write to memory of
others.
"""

from __future__ import annotations

import faiss
import numpy as np

from drqfaiss._core import plugin
from drqfaiss._plugin.identity import require_known_functions
from drqfaiss._plugin.layout import (
    BOOL,
    INT32,
    INT64,
    Layout,
    address,
    allocated,
    require_room,
    require_seen,
    word,
)

_CLASS = "_ZTVN5faiss25IndexIVFResidualQuantizerE"
_SCANNER_CLASS = "_ZTVN5faiss19InvertedListScannerE"
_D, _NLIST, _LEVELS, _NBITS = 6, 3, 2, 4  # So few vectors have different codes: there are no ties.

# Pairs of parallel_mode and max_codes: searched list by list, or by FAISS with a scanner.
BY_LIST = ((0, 0),)
SCANNED = ((3, 0), (0, 9), (0, 17))

_INDEX_FIELDS = {
    "by_residual": ("<?", BOOL),
    "parallel_mode": ("<i", INT32),
    "nlist": ("<q", INT64),
    "nprobe": ("<q", INT64),
    "max_codes": ("<q", INT64),
    "code_size": ("<q", INT64),
}
_LISTS_FIELDS = {
    "use_iterator": ("<?", BOOL),
    "nlist": ("<q", INT64),
    "code_size": ("<q", INT64),
}
_SCANNER_FIELDS = {
    "list_no": ("<q", INT64),
    "keep_max": ("<?", BOOL),
    "store_pairs": ("<?", BOOL),
    "code_size": ("<q", INT64),
}
_PARAMETERS = ("nprobe", "max_codes", "max_lists_num", "max_empty_result_buckets")
_STATS = ("nq", "nlist", "ndis")

# What `layout` finds; where IVF indexes are not adopted, nothing reads these.
FIELDS = (
    *("ivf_quantizer", "ivf_invlists", "ivf_rq", "array_lists_codes", "disk_lists_read_only"),
    *(f"lists_{name}" for name in _LISTS_FIELDS),
    *(f"ivf_{name}" for name in _INDEX_FIELDS),
    *("scanner_sel", *(f"scanner_{name}" for name in _SCANNER_FIELDS)),
    *("params_inverted_list_context", "params_quantizer_params"),
    *(f"params_{name}" for name in _PARAMETERS),
    *(f"stats_{name}" for name in _STATS),
)


def make_probe() -> faiss.IndexIVFResidualQuantizer:
    """Return an index to measure; nothing is searched in it."""
    return faiss.IndexIVFResidualQuantizer(faiss.IndexFlatL2(24), 24, 2, 3, 5)


def layout(index: faiss.IndexIVFResidualQuantizer) -> Layout:
    """Find the fields of the index, its lists, scanner, search parameters and statistics."""
    found = Layout()
    start = address(index)
    for name in ("quantizer", "invlists"):

        def target(name: str = name) -> list[int]:
            return [address(getattr(index, name))]

        found.follow(f"ivf_{name}", start, allocated(start), start, "<Q", target)
    for name, (kind, values) in _INDEX_FIELDS.items():
        found.measure(f"ivf_{name}", index, name, kind, values)
    _lists_fields(found, index)
    rq = address(index.rq)
    found.put("ivf_rq", rq - start, start, "<Q", lambda: [word(rq)])
    _scanner_fields(found, index)
    _parameter_fields(found)
    stats = faiss.IndexIVFStats()
    for name in _STATS:
        found.measure(f"stats_{name}", stats, name, "<q", INT64)
    return found


def _lists_fields(found: Layout, index: faiss.IndexIVFResidualQuantizer) -> None:
    lists = faiss.downcast_InvertedLists(index.invlists)
    for name, (kind, values) in _LISTS_FIELDS.items():
        found.measure(f"lists_{name}", lists, name, kind, values)
    codes = address(lists.codes)
    found.put("array_lists_codes", codes - address(lists), address(lists), "<Q", lambda: [word(codes)])
    found.measure("disk_lists_read_only", faiss.OnDiskInvertedLists(), "read_only", "<?", BOOL)


def _scanner_fields(found: Layout, index: faiss.IndexIVFResidualQuantizer) -> None:
    scanner = index.get_InvertedListScanner(False, None, None)
    # FAISS's own is larger than the base class whose place it takes in ours.
    require_room("InvertedListScanner", scanner, plugin.rooms()["InvertedListScanner"])
    for name, (kind, values) in _SCANNER_FIELDS.items():
        found.measure(f"scanner_{name}", scanner, name, kind, values)
    selectors = [faiss.IDSelectorRange(0, 1), faiss.IDSelectorRange(0, 1)]
    found.measure_pointer("scanner_sel", scanner, "sel", selectors)


def _parameter_fields(found: Layout) -> None:
    parameters = faiss.SearchParametersIVF()
    for name in _PARAMETERS:
        found.measure(f"params_{name}", parameters, name, "<q", INT64)
    nested = [faiss.SearchParameters(), faiss.SearchParameters()]
    found.measure_pointer("params_quantizer_params", parameters, "quantizer_params", nested)
    contexts = np.empty(2, np.uint8)  # Any two addresses do.
    targets = [faiss.swig_ptr(contexts), faiss.swig_ptr(contexts[1:])]
    found.measure_pointer("params_inverted_list_context", parameters, "inverted_list_context", targets)


def check_scanner() -> bool:
    """Require that scanners have the virtual functions that ours replace; return True."""
    require_known_functions(_SCANNER_CLASS)
    return True


def open_class(probe: faiss.IndexIVFResidualQuantizer, with_scanner: bool) -> bool:
    """Build the class, with our scanner or without, and require that it searches as FAISS; return True."""
    require_known_functions(_CLASS)
    plugin.open_ivf(with_scanner)
    check_description(probe)
    check_search(BY_LIST)
    return True


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


def check_search(ways: tuple[tuple[int, int], ...]) -> None:
    """Require that tiny searches in our index and FAISS's own find the same and count the same."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, _D)).astype(np.float32)
    codebooks = rng.standard_normal(_LEVELS * 2**_NBITS * _D).astype(np.float32)
    for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
        stock, ours = _small_index(x, codebooks, metric), _small_index(x, codebooks, metric)
        plugin.adopt(address(ours))
        for parallel_mode, max_codes in ways:
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
