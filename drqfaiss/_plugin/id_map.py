"""Whether FAISS's IndexIDMap hands search parameters on in range searches, and mending it where it does not.

Up to 1.15.0 it makes parameters of its own, with nothing but a selector, so that levels and nprobe get lost.
"""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np

from drqfaiss._core import plugin
from drqfaiss._plugin.layout import Layout, address, allocated, word


def check_id_map(make_index: Callable[[], faiss.IndexResidualQuantizer], codes: np.ndarray) -> None:
    """Require that levels reach an index inside of an IndexIDMap, after mending the class if need be.

    Args:
        make_index: Returns an empty, adopted index of two levels.
        codes: Some codes of it, (n, code_size).

    Raises:
        RuntimeError: If they do not arrive.
    """
    outer = faiss.IndexIDMap2(inner := make_index())
    ids = np.arange(len(codes))
    outer.add_sa_codes_c(len(codes), faiss.swig_ptr(codes), faiss.swig_ptr(ids))
    if _hands_on(outer):
        return
    plugin.mend_id_maps(*_measured(outer, inner))
    if not _hands_on(outer):
        raise RuntimeError("IndexIDMap.range_search does not hand search parameters on")


def _hands_on(outer: faiss.IndexIDMap2) -> bool:
    """Return whether more levels than there are get refused."""
    parameters = faiss.SearchParameters(sel=faiss.IDSelectorAll())
    plugin.set_parameter_depth(address(parameters), 3, 0, 0)
    x = np.zeros((1, outer.d), np.float32)
    try:
        outer.range_search_c(1, faiss.swig_ptr(x), 1.0, faiss.RangeSearchResult(1), parameters)
    except RuntimeError as error:
        if "levels is 3" not in str(error):
            raise
        return True
    finally:
        plugin.drop_parameters(address(parameters))
    return False


def _measured(outer: faiss.IndexIDMap2, inner: faiss.Index) -> tuple[int, int, int, int]:
    """Return where an IndexIDMap has its index and its ids, and the bytes of two classes of parameters."""
    layout, start = Layout(), address(outer)
    layout.measure_pointer("index", outer, "index", [inner, faiss.IndexFlatL2(outer.d)])
    outer.index = inner
    ids = outer.id_map
    at = address(ids) - start
    begin = int(ids.data())
    if not 0 < at < allocated(start) or [word(start + at), word(start + at + 8)] != [
        begin,
        begin + 8 * ids.size(),
    ]:
        raise RuntimeError("IndexIDMap.id_map is laid out otherwise than a std::vector of libstdc++")
    plain, ivf = faiss.SearchParameters(), faiss.SearchParametersIVF()
    return layout.offsets["index"], at, allocated(address(plain)), allocated(address(ivf))
