"""The plug-in, as far as the FAISS at hand lets it in: looked at when the first index needs it."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from typing import Any

import faiss

from drqfaiss._core import plugin
from drqfaiss._plugin.capabilities import CAPABILITIES
from drqfaiss._plugin.layout import address


def plugin_info() -> dict[str, Any]:
    """Return which FAISS this is and what of the plug-in works in it.

    Returns:
        dict with ``faiss`` (its version), ``library`` (the file its classes are in, None if they could not be
        looked at), ``build_id``, ``known`` (the release it is, None if drqfaiss was not tested with it) and
        ``capabilities``: for each of ``flat`` (IndexDRQ searches inside FAISS), ``ivf_lists`` (so does
        IndexIVFDRQ), ``ivf_scanner`` (also where FAISS goes through the lists itself) the reason why it is
        off, empty if it is on.
    """
    facts = _facts()
    return {
        "faiss": faiss.__version__,
        "library": facts.get("libfaiss"),
        "build_id": facts.get("build_id"),
        "known": facts.get("known"),
        "capabilities": {name: _reason(name) for name in CAPABILITIES},
    }


def has(capability: str) -> bool:
    """Return whether the plug-in may do this in the FAISS at hand."""
    return capability in _facts()["capabilities"]


def require_or_warn(capability: str) -> bool:
    """As ``has``, and warn once in this process that searches go another way, if they do."""
    if has(capability):
        return True
    _warn(_reason(capability))
    return False


# A child forked in the middle of the look would wait for its end, and for the import, for ever.
_looking = threading.RLock()
os.register_at_fork(
    before=_looking.acquire, after_in_parent=_looking.release, after_in_child=_looking.release
)


@functools.cache
def _facts() -> dict[str, Any]:
    with _looking:
        try:
            from drqfaiss import _faiss_abi
        except ImportError as error:
            return {"capabilities": (), "refused": dict.fromkeys(CAPABILITIES, str(error))}
        return _faiss_abi.FACTS


def _reason(capability: str) -> str:
    return "" if has(capability) else _facts()["refused"].get(capability) or "FAISS lacks what it needs"


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(
        f"{reason} Indexes search through Python instead: with the same results, but slower in inverted "
        "lists, and inside other indexes (IndexIDMap, IndexPreTransform, …) as plain FAISS, with all levels.",
        RuntimeWarning,
        stacklevel=5,
    )


def _open_threads() -> None:
    """Prepare for forks, which may come before the first index, and for FAISS's number of threads."""
    probe = faiss.IndexFlatL2(1)
    plugin.open_threads(address(probe))


_open_threads()
