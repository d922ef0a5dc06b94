"""Check at import that the installed FAISS is a binary that the plug-in can live in.

The faiss-cpu wheels carry ``libfaiss.so`` but no headers, and a patch release may move fields. So nothing
that can be measured is written down: FAISS's own Python proxies write known values into a probe index, and
the only place in its memory that follows them is the field. What cannot be measured is compared with how
FAISS behaves. Anything that does not fit raises ``ImportError``; it takes about a millisecond.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import faiss

from drqfaiss._core import plugin

TESTED_VERSIONS = ("1.14.2", "1.14.3", "1.15.0", "1.15.1")
ALLOW_UNTESTED = "DRQFAISS_ALLOW_UNTESTED_FAISS"

_INT32 = (0x5A17C0D, 0x33D1E0C)
_INT64 = (0x5A17C0DE12345, 0x33D1E0CAFE777)


def address(proxy: Any) -> int:
    """Return the address of the C++ object that a FAISS Python object stands for."""
    return int(proxy.this)


def self_check() -> dict[str, Any]:
    """Measure FAISS's layout, build the IndexDRQ class from it and return what was found.

    Raises:
        ImportError: Naming the FAISS version, what did not match, and the versions known to work.
    """
    try:
        _check_platform()
        _check_version()
        return _measure()
    except Exception as error:
        raise ImportError(
            f"drqfaiss cannot work with faiss {faiss.__version__} ({Path(faiss.__file__).parent}): {error}. "
            f"Known to work: the faiss-cpu wheels {', '.join(TESTED_VERSIONS)} for Linux x86-64."
        ) from error


def _check_platform() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise RuntimeError(f"this is {sys.platform} on {platform.machine()}, expected linux on x86_64")
    library = Path(faiss.__file__).parent / "libfaiss.so"
    if not library.exists():
        raise RuntimeError(f"{library} does not exist, so this is no faiss-cpu wheel from 1.14.2 on")


def _check_version() -> None:
    if faiss.__version__ not in TESTED_VERSIONS and os.environ.get(ALLOW_UNTESTED) != "1":
        raise RuntimeError(
            f"the version is untested; set {ALLOW_UNTESTED}=1 to try it (this check still runs)"
        )


def _measure() -> dict[str, Any]:
    probe = faiss.IndexResidualQuantizer(24, 3, 5)
    facts = plugin.open(address(probe))
    offsets = _index_offsets(probe) | _parameter_offsets() | _range_result_offsets()
    plugin.set_layout(offsets)
    _check_description(probe)
    _check_constants()
    _check_selector(facts["slots"]["IDSelector.is_member"])
    _check_lifetime()
    return {"faiss": faiss.__version__, **plugin.facts(), "offsets": offsets}


def _index_offsets(index: faiss.IndexResidualQuantizer) -> dict[str, int]:
    rq = index.rq
    start, size = address(index), _allocated(address(index))
    rq_start, rq_size = address(rq), start + size - address(rq)
    offsets = {
        "d": _field(index, "d", "<i", _INT32, start, size),
        "ntotal": _field(index, "ntotal", "<q", _INT64, start, size),
        "is_trained": _field(index, "is_trained", "<?", (True, False, True), start, size),
        "metric_type": _field(index, "metric_type", "<i", (23, 4, 0, 1), start, size),
        "code_size": _field(index, "code_size", "<q", _INT64, start, size),
        "rq": rq_start - start,
        "rq_d": _field(rq, "d", "<q", _INT64, rq_start, rq_size),
        "rq_norm_bits": _field(rq, "norm_bits", "<q", _INT64, rq_start, rq_size),
        "rq_is_trained": _field(rq, "is_trained", "<?", (True, False, True), rq_start, rq_size),
        "rq_search_type": _field(rq, "search_type", "<i", (1, 9, 4), rq_start, rq_size),
        "rq_max_beam_size": _field(rq, "max_beam_size", "<i", _INT32, rq_start, rq_size),
        "rq_nbits": address(rq.nbits) - rq_start,
        "rq_codebooks": address(rq.codebooks) - rq_start,
        "rq_codebook_offsets": address(rq.codebook_offsets) - rq_start,
    }
    return offsets | _codes_offsets(index)


def _codes_offsets(index: faiss.IndexResidualQuantizer) -> dict[str, int]:
    """Where the codes are, in FAISS's own memory or a mapped file: a pointer, and beside it their size."""
    start, size = address(index.codes), address(index.rq) - address(index.codes)
    offset = _followed("codes.size", "<q", (77, 100_003), index.codes.resize, start, size)
    index.codes.resize(0)
    codes_size = start - address(index) + offset
    owned = _field(index.codes, "is_owned", "<?", (True, False, True), start, size)
    return {
        "codes_owned": start - address(index) + owned,
        "codes_data": codes_size - struct.calcsize("P"),
        "codes_size": codes_size,
    }


def _parameter_offsets() -> dict[str, int]:
    parameters = faiss.SearchParameters()
    selectors = [faiss.IDSelectorRange(0, 1), faiss.IDSelectorRange(0, 1)]
    by_address = {address(selector): selector for selector in selectors}
    offset = _followed(
        "SearchParameters.sel",
        "<Q",
        by_address,
        lambda value: setattr(parameters, "sel", by_address[value]),
        address(parameters),
        _allocated(address(parameters)),
    )
    parameters.sel = None
    return {"params_sel": offset}


def _range_result_offsets() -> dict[str, int]:
    result = faiss.RangeSearchResult(3)
    result.do_allocation()
    memory = ctypes.string_at(address(result), _allocated(address(result)))
    return {
        f"range_{name}": _only(f"RangeSearchResult.{name}", _places(memory, "<Q", int(getattr(result, name))))
        for name in ("lims", "labels", "distances")
    }


def _check_description(index: faiss.IndexResidualQuantizer) -> None:
    """Require that the plug-in reads from the probe what its proxies say."""
    rq = index.rq
    faiss.copy_array_to_vector(faiss.rand(3 * 32 * 24), rq.codebooks)
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
    seen = plugin.describe(address(index))
    wrong = [
        f"{name} is {seen[name]}, expected {expected[name]}"
        for name in expected
        if seen[name] != expected[name]
    ]
    if wrong:
        raise RuntimeError("the probe index was read wrongly: " + "; ".join(wrong))


def _check_constants() -> None:
    numbers = (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2, faiss.AdditiveQuantizer.ST_norm_from_LUT)
    if numbers != (0, 1, 2):
        raise RuntimeError(
            f"METRIC_INNER_PRODUCT, METRIC_L2, ST_norm_from_LUT are {numbers}, expected (0, 1, 2)"
        )


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


def _allocated(start: int) -> int:
    """Return the bytes of a heap block; reading an object beyond them would be undefined."""
    usable_size = ctypes.CDLL(None).malloc_usable_size
    usable_size.restype, usable_size.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    return int(usable_size(start))


def _field(proxy: Any, name: str, kind: str, values: Iterable[Any], start: int, size: int) -> int:
    """Return the offset of an attribute in [start, start + size), restoring its value."""
    before = getattr(proxy, name)
    try:
        return _followed(name, kind, values, lambda value: setattr(proxy, name, value), start, size)
    finally:
        setattr(proxy, name, before)


def _followed(
    name: str, kind: str, values: Iterable[Any], write: Callable[[Any], None], start: int, size: int
) -> int:
    """Return the only offset that holds each of the values right after it was written."""
    found: set[int] | None = None
    for value in values:
        write(value)
        places = _places(ctypes.string_at(start, size), kind, value)
        found = places if found is None else found & places
    return _only(name, found or set())


def _places(memory: bytes, kind: str, value: Any) -> set[int]:
    """Return the aligned offsets that hold the value."""
    pattern = struct.pack(kind, value)
    places = set()
    place = memory.find(pattern)
    while place >= 0:
        if place % len(pattern) == 0:
            places.add(place)
        place = memory.find(pattern, place + 1)
    return places


def _only(name: str, places: set[int]) -> int:
    if len(places) != 1:
        raise RuntimeError(f"{name} was found at {sorted(places) or 'no offset'}, expected exactly one")
    return places.pop()


FACTS = self_check()
