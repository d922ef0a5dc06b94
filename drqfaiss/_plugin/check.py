"""Measure the FAISS at hand and check that the plug-in reads and does what FAISS does.

The faiss-cpu wheels carry ``libfaiss.so`` but no headers, and a patch release may move fields. So nothing
that can be measured is written down: FAISS's own Python proxies write known values into a probe index, and
the only place in its memory that follows them is the field. The plug-in then has to read every field right
before it may use any, and what cannot be measured is compared with how FAISS behaves. All of it takes some
ten milliseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

import faiss
import numpy as np

from drqfaiss._core import plugin
from drqfaiss._plugin import check_ivf as ivf
from drqfaiss._plugin.capabilities import CAPABILITIES
from drqfaiss._plugin.id_map import check_id_map
from drqfaiss._plugin.identity import FLAT_CLASS, require_known_functions
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
from drqfaiss._threads import on_threads


@on_threads(1)  # FAISS starts none: whoever asks may never need them, and all the rest is quicker.
def measure(wanted: Collection[str], report: Callable[[str, str], None]) -> dict[str, Any]:
    """Build our classes from the installed libfaiss as far as wanted, check them, and return what was found.

    Args:
        wanted: The capabilities to open, of ``CAPABILITIES``.
        report: Called with a capability and "" before it is tried, and with the reason if it is refused.

    Raises:
        RuntimeError: If flat indexes cannot be adopted, or a field is not read as it was measured: then
            nothing may be used.
    """
    probe = faiss.IndexResidualQuantizer(24, 3, 5)
    report("flat", "")
    plugin.open(address(probe))
    require_known_functions(FLAT_CLASS)
    _require_assumptions()
    layout = _flat_layout(probe)
    refused: dict[str, str] = {}
    ivf_probe = ivf.make_probe()
    if "ivf_lists" in wanted:
        report("ivf_lists", "")
        ivf_layout = _tried("ivf_lists", lambda: ivf.layout(ivf_probe), refused, report)
    else:
        ivf_layout = None
    offsets = layout.offsets | (ivf_layout.offsets if ivf_layout else dict.fromkeys(ivf.FIELDS, 0))
    plugin.set_layout(offsets)
    for measured in filter(None, (layout, ivf_layout)):
        measured.require_read(plugin.word_at)
    report("flat", "")
    _check_flat(probe)
    if ivf_layout:
        _open_ivf(ivf_probe, wanted, refused, report)
    on = [name for name in CAPABILITIES if name == "flat" or (name in wanted and name not in refused)]
    if "ivf_lists" in refused:
        on = ["flat"]
    return {"offsets": offsets, "capabilities": on, "refused": refused}


def _tried(
    name: str, work: Callable[[], Any], refused: dict[str, str], report: Callable[[str, str], None]
) -> Any:
    """Return what ``work`` does, or None if it raises what FAISS's differing makes it raise."""
    try:
        return work()
    except Exception as error:
        refused[name] = str(error)
        report(name, str(error))
        return None


def _open_ivf(
    probe: faiss.IndexIVFResidualQuantizer,
    wanted: Collection[str],
    refused: dict[str, str],
    report: Callable[[str, str], None],
) -> None:
    with_scanner = "ivf_scanner" in wanted
    if with_scanner:
        report("ivf_scanner", "")
        with_scanner = _tried("ivf_scanner", ivf.check_scanner, refused, report) is True
    report("ivf_lists", "")
    if _tried("ivf_lists", lambda: ivf.open_class(probe, with_scanner), refused, report) is not True:
        return
    if with_scanner:
        report("ivf_scanner", "")
        _tried("ivf_scanner", lambda: ivf.check_search(ivf.SCANNED), refused, report)


def _require_assumptions() -> None:
    """Require what the plug-in takes for granted about memory and constants."""
    if not plugin.shares_allocator():
        raise RuntimeError("libfaiss has a memory allocator of its own, expected this process's")
    require_room("IDSelectorRange", faiss.IDSelectorRange(0, 1), plugin.rooms()["IDSelectorRange"])
    metrics = (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2)
    if metrics != (0, 1):
        raise RuntimeError(f"METRIC_INNER_PRODUCT, METRIC_L2 are {metrics}, expected (0, 1)")
    names = ("ST_decompress", "ST_LUT_nonorm", "ST_norm_from_LUT")
    types = tuple(getattr(faiss.AdditiveQuantizer, name) for name in names)
    if types != (0, 1, 2):
        raise RuntimeError(f"{', '.join(names)} are {types}, expected (0, 1, 2)")


def _flat_layout(index: faiss.IndexResidualQuantizer) -> Layout:
    layout = Layout()
    layout.measure("d", index, "d", "<i", INT32)
    layout.measure("ntotal", index, "ntotal", "<q", INT64)
    layout.measure("is_trained", index, "is_trained", "<?", BOOL)
    layout.measure("metric_type", index, "metric_type", "<i", (23, 4, 0, 1))
    layout.measure("code_size", index, "code_size", "<q", INT64)
    start, rq = address(index), address(index.rq)
    # It begins with a pointer, which is followed.
    layout.put("rq", rq - start, start, "<Q", lambda: [word(rq)])
    _quantizer_fields(layout, index)
    _codes_fields(layout, index)
    _parameter_fields(layout)
    _range_result_fields(layout)
    return layout


def _quantizer_fields(layout: Layout, index: faiss.IndexResidualQuantizer) -> None:
    rq = index.rq
    start, end = address(rq), address(index) + allocated(address(index))
    fields = {
        "d": ("<q", INT64),
        "code_size": ("<q", INT64),
        "M": ("<q", INT64),
        "norm_bits": ("<q", INT64),
        "is_trained": ("<?", BOOL),
        "search_type": ("<i", (1, 9, 4)),
        "max_beam_size": ("<i", INT32),
    }
    for name, (kind, values) in fields.items():
        layout.measure_in(f"rq_{name}", start, end - start, start, (rq, name), kind, values)
    faiss.copy_array_to_vector(np.zeros(3 * 32 * 24, np.float32), rq.codebooks)
    for name in ("nbits", "codebooks", "codebook_offsets"):
        vector = getattr(rq, name)
        begin, bytes_ = int(vector.data()), vector.size() * (4 if name == "codebooks" else 8)
        if word(address(vector)) != begin or word(address(vector) + 8) != begin + bytes_:
            raise RuntimeError(f"rq.{name} is laid out otherwise than a std::vector of libstdc++")
        layout.put(f"rq_{name}", address(vector) - start, start, "<Q", partial(_itself, begin))


def _itself(value: int) -> list[int]:
    return [value]


def _codes_fields(layout: Layout, index: faiss.IndexResidualQuantizer) -> None:
    """Find codes, in FAISS's own memory or a mapped file: a pointer, and beside it their size."""
    codes, origin = index.codes, address(index)
    start, size = address(codes), address(index.rq) - address(codes)

    def sizes() -> Iterable[int]:
        for n in (77, 100_003):
            codes.resize(n)
            yield n
        codes.resize(0)

    def pointers() -> Iterable[int]:
        codes.resize(77)
        yield int(codes.data())
        codes.resize(0)

    layout.follow("codes_size", start, size, origin, "<q", sizes)
    layout.put("codes_data", layout.offsets["codes_size"] - struct.calcsize("P"), origin, "<Q", pointers)
    layout.measure_in("codes_owned", start, size, origin, (codes, "is_owned"), "<?", BOOL)
    layout.measure_in("vector_is_owned", start, size, start, (codes, "is_owned"), "<?", BOOL)


def _parameter_fields(layout: Layout) -> None:
    parameters = faiss.SearchParameters()
    selectors = [faiss.IDSelectorRange(0, 1), faiss.IDSelectorRange(0, 1)]
    layout.measure_pointer("params_sel", parameters, "sel", selectors)


def _range_result_fields(layout: Layout) -> None:
    result = faiss.RangeSearchResult(3)
    result.do_allocation()
    start = address(result)
    for name in ("lims", "labels", "distances"):
        # The result must live as long as the layout is read.
        def pointer(result: faiss.RangeSearchResult = result, name: str = name) -> list[int]:
            return [int(getattr(result, name))]

        layout.follow(f"range_{name}", start, allocated(start), start, "<Q", pointer)


def _check_flat(probe: faiss.IndexResidualQuantizer) -> None:
    _check_description(probe)
    _check_selector(plugin.facts()["slots"]["IDSelector.is_member"])
    _check_lifetime()
    _check_search()


def _check_description(index: faiss.IndexResidualQuantizer) -> None:
    """Require that the plug-in reads from the probe what its proxies say."""
    rq = index.rq
    index.codes.resize(3 * index.code_size)
    index.ntotal, index.is_trained = 3, True
    expected = {
        "d": index.d,
        "ntotal": 3,
        "is_trained": True,
        "metric_type": index.metric_type,
        "code_size": index.code_size,
        "codes": int(index.codes.data()),
        "codes_size": 3 * index.code_size,
        "codes_owned": True,
        "nbits": [5, 5, 5],
        "codebooks_size": rq.codebooks.size(),
        "search_type": rq.search_type,
        "max_beam_size": rq.max_beam_size,
        "norm_bits": rq.norm_bits,
    }
    require_seen("probe index", plugin.describe(address(index)), expected)


def _check_selector(slot: int) -> None:
    selector = faiss.IDSelectorRange(5, 9)
    if [plugin.is_member(address(selector), slot, i) for i in (4, 5, 8, 9)] != [False, True, True, False]:
        raise RuntimeError("IDSelectorRange(5, 9) does not answer as expected")


def _check_lifetime() -> None:
    """Require that FAISS destroys an adopted index through the destructor that we put into its class."""
    before = plugin.count()
    index = faiss.IndexResidualQuantizer(4, 1, 1)
    plugin.adopt(address(index))
    if plugin.count() != before + 1 or not plugin.is_adopted(address(index)):
        raise RuntimeError("a probe index could not be adopted")
    del index
    if plugin.count() != before:
        raise RuntimeError("deleting an index did not run the destructor of its class")


def _check_search() -> None:
    """Require that tiny searches in an index of ours and in FAISS's own find the same."""
    rng = np.random.default_rng(0)
    codebooks = rng.standard_normal(2 * 16 * 6).astype(np.float32)
    codes = rng.integers(0, 256, (20, 1), np.uint8)
    x = rng.standard_normal((3, 6)).astype(np.float32)
    results = []
    for ours in (False, True):
        index = _tiny_index(codebooks, ours)
        index.add_sa_codes_c(len(codes), faiss.swig_ptr(codes), None)
        results.append((_found(index, x), _in_range(index, x)))
    for stock, own, what in zip(*results, ("search", "range_search"), strict=True):
        if not all(np.allclose(a, b, rtol=0, atol=1e-4) for a, b in zip(stock, own, strict=True)):
            raise RuntimeError(f"{what} of a tiny index finds {own}, expected {stock}")
    check_id_map(partial(_tiny_index, codebooks, True), codes)


def _tiny_index(codebooks: np.ndarray, ours: bool) -> faiss.IndexResidualQuantizer:
    index = faiss.IndexResidualQuantizer(6, 2, 4, faiss.METRIC_L2, faiss.AdditiveQuantizer.ST_decompress)
    faiss.copy_array_to_vector(codebooks, index.rq.codebooks)
    index.rq.is_trained = index.is_trained = True
    if ours:
        plugin.adopt(address(index))
    return index


def _found(index: faiss.Index, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    D, ids = np.empty((len(x), 4), np.float32), np.empty((len(x), 4), np.int64)
    index.search_c(len(x), faiss.swig_ptr(x), 4, faiss.swig_ptr(D), faiss.swig_ptr(ids))
    return ids, D


def _in_range(index: faiss.Index, x: np.ndarray) -> tuple[np.ndarray, ...]:
    result = faiss.RangeSearchResult(len(x))
    index.range_search_c(len(x), faiss.swig_ptr(x), 12.0, result)
    lims = faiss.rev_swig_ptr(result.lims, len(x) + 1).copy()
    ids = faiss.rev_swig_ptr(result.labels, int(lims[-1])).copy()
    D = faiss.rev_swig_ptr(result.distances, int(lims[-1])).copy()
    order = np.lexsort((ids, np.repeat(np.arange(len(x)), np.diff(lims).astype(int))))
    return lims, ids[order], D[order]
