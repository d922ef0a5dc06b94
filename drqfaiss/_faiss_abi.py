"""Check at import that the installed FAISS is a binary that the plug-in can live in.

The faiss-cpu wheels carry ``libfaiss.so`` but no headers, and a patch release may move fields. So nothing
that can be measured is written down: FAISS's own Python proxies write known values into a probe index, and
the only place in its memory that follows them is the field. What cannot be measured is compared with how
FAISS behaves. Anything that does not fit raises ``ImportError``; it takes ten milliseconds.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss

from drqfaiss import _faiss_abi_ivf as ivf
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

TESTED_VERSIONS = ("1.14.2", "1.14.3", "1.15.0", "1.15.1")
ALLOW_UNTESTED = "DRQFAISS_ALLOW_UNTESTED_FAISS"


def self_check() -> dict[str, Any]:
    """Measure FAISS's layout, build the IndexDRQ class from it and return what was found.

    Raises:
        ImportError: Naming the FAISS version, what did not match, and the versions known to work.
    """
    try:
        _check_platform()
        _check_version()
        with _one_thread():
            offsets = _measure()
        return {"faiss": faiss.__version__, **plugin.facts(), "offsets": offsets}
    except Exception as error:
        raise ImportError(
            f"drqfaiss cannot work with faiss {faiss.__version__} ({Path(faiss.__file__).parent}): {error}. "
            f"Known to work: the faiss-cpu wheels {', '.join(TESTED_VERSIONS)} for Linux x86-64."
        ) from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep FAISS from starting its threads: whoever imports this may never need them."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


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


def _measure() -> dict[str, int]:
    probe = faiss.IndexResidualQuantizer(24, 3, 5)
    facts = plugin.open(address(probe))
    ivf_probe = ivf.make_probe()
    offsets = _index_offsets(probe) | _parameter_offsets() | _range_result_offsets() | ivf.offsets(ivf_probe)
    plugin.set_layout(offsets)
    _check_description(probe)
    ivf.check_description(ivf_probe)
    _check_constants()
    _check_selector(facts["slots"]["IDSelector.is_member"])
    _check_lifetime()
    ivf.check_search()
    return offsets


def _index_offsets(index: faiss.IndexResidualQuantizer) -> dict[str, int]:
    rq = index.rq
    start, size = address(index), allocated(address(index))
    rq_start, rq_size = address(rq), start + size - address(rq)
    offsets = {
        "d": field(index, "d", "<i", INT32, start, size),
        "ntotal": field(index, "ntotal", "<q", INT64, start, size),
        "is_trained": field(index, "is_trained", "<?", BOOL, start, size),
        "metric_type": field(index, "metric_type", "<i", (23, 4, 0, 1), start, size),
        "code_size": field(index, "code_size", "<q", INT64, start, size),
        "rq": rq_start - start,
        "rq_d": field(rq, "d", "<q", INT64, rq_start, rq_size),
        "rq_norm_bits": field(rq, "norm_bits", "<q", INT64, rq_start, rq_size),
        "rq_is_trained": field(rq, "is_trained", "<?", BOOL, rq_start, rq_size),
        "rq_search_type": field(rq, "search_type", "<i", (1, 9, 4), rq_start, rq_size),
        "rq_max_beam_size": field(rq, "max_beam_size", "<i", INT32, rq_start, rq_size),
        "rq_nbits": address(rq.nbits) - rq_start,
        "rq_codebooks": address(rq.codebooks) - rq_start,
        "rq_codebook_offsets": address(rq.codebook_offsets) - rq_start,
    }
    return offsets | _codes_offsets(index)


def _codes_offsets(index: faiss.IndexResidualQuantizer) -> dict[str, int]:
    """Where the codes are, in FAISS's own memory or a mapped file: a pointer, and beside it their size."""
    start, size = address(index.codes), address(index.rq) - address(index.codes)
    offset = followed("codes.size", "<q", (77, 100_003), index.codes.resize, start, size)
    index.codes.resize(0)
    codes_size = start - address(index) + offset
    owned = field(index.codes, "is_owned", "<?", BOOL, start, size)
    return {
        "codes_owned": start - address(index) + owned,
        "codes_data": codes_size - struct.calcsize("P"),
        "codes_size": codes_size,
    }


def _parameter_offsets() -> dict[str, int]:
    parameters = faiss.SearchParameters()
    selectors = [faiss.IDSelectorRange(0, 1), faiss.IDSelectorRange(0, 1)]
    by_address = {address(selector): selector for selector in selectors}
    offset = followed(
        "SearchParameters.sel",
        "<Q",
        by_address,
        lambda value: setattr(parameters, "sel", by_address[value]),
        address(parameters),
        allocated(address(parameters)),
    )
    parameters.sel = None
    return {"params_sel": offset}


def _range_result_offsets() -> dict[str, int]:
    result = faiss.RangeSearchResult(3)
    result.do_allocation()
    memory = ctypes.string_at(address(result), allocated(address(result)))
    return {
        f"range_{name}": only(f"RangeSearchResult.{name}", places(memory, "<Q", int(getattr(result, name))))
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
    require_seen("probe index", plugin.describe(address(index)), expected)


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


FACTS = self_check()
