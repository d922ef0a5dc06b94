"""FAISS's binary interface: importing this module measures it and puts our classes beside FAISS's own.

A library that this version was tested with is measured and checked; one that it does not know is tried in a
child process first. What is refused raises ``ImportError``. Everything else in drqfaiss asks
``drqfaiss._plugin.available``, which imports this when the first index needs it.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import faiss

from drqfaiss._core import plugin
from drqfaiss._plugin.capabilities import CAPABILITIES
from drqfaiss._plugin.check import measure
from drqfaiss._plugin.identity import KNOWN, Identity, identify
from drqfaiss._plugin.layout import address as address

TESTED_BUILDS = tuple(
    dict.fromkeys(build for builds in KNOWN["builds"].values() for build in builds.values())
)
SWITCH = "DRQFAISS_PLUGIN"


def self_check() -> dict[str, Any]:
    """Measure FAISS's layout, build our classes from it and return what was found.

    Raises:
        ImportError: Naming the FAISS version, what did not match, and the builds known to work.
    """
    library = faiss.__file__
    try:
        switch = _switch()
        identity = identify()
        library = identity.library
        refused = {} if identity.known and switch == "auto" else _probed(identity, switch)
        wanted = [name for name in CAPABILITIES if not refused.get(name)]
        facts = measure(wanted, lambda name, reason: None)
        if facts["refused"]:  # Our classes are built by now; a child process would have told before.
            raise RuntimeError("; ".join(facts["refused"].values()))
        facts["refused"] = refused
    except Exception as error:
        machines = " and ".join(KNOWN["builds"])
        raise ImportError(
            f"drqfaiss cannot work inside faiss {faiss.__version__} ({library}): {error}. "
            f"Known to work: the wheels {', '.join(TESTED_BUILDS)} for Linux on {machines}."
        ) from error
    return {
        "faiss": faiss.__version__,
        "build_id": identity.build_id,
        "known": identity.known,
        **plugin.facts(),
        **facts,
    }


def _switch() -> str:
    value = os.environ.get(SWITCH) or "auto"
    if value not in ("auto", "probe", "off"):
        raise RuntimeError(f"{SWITCH}: got {value!r}, expected auto, probe or off")
    if value == "off":
        raise RuntimeError(f"{SWITCH} is off")
    if not plugin.is_built:
        raise RuntimeError("it was built without the plug-in, DRQFAISS_WITH_PLUGIN=OFF")
    return value


def _probed(identity: Identity, switch: str) -> dict[str, str]:
    """Return the reasons against capabilities of a library that is not known, or is not to be trusted."""
    from drqfaiss._plugin import probe  # It is rarely needed.

    verdict = probe.verdict_of(identity, fresh=switch == "probe")
    if verdict["flat"]:
        raise RuntimeError(verdict["flat"])
    warnings.warn(
        f"drqfaiss was not tested with faiss {faiss.__version__} ({identity.library}); it passed every check "
        "in a process of its own and is used",
        RuntimeWarning,
        stacklevel=2,
    )
    return {name: reason for name, reason in verdict.items() if reason}


FACTS = self_check()
