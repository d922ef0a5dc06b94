"""Deep Recurrent Quantization for FAISS: one codebook, and a code length chosen at query time."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [  # noqa: F405
    "DamagedIndexError",
    "IndexDRQ",
    "IndexIVFDRQ",
    "Plan",
    "PlannedIndex",
    "Quantizer",
    "SearchParametersDRQ",
    "SearchParametersIVFDRQ",
    "TrainingOptions",
    "Tuned",
    "TunedPoint",
    "adopt",
    "check_tail",
    "clone_index",
    "index_factory",
    "install",
    "installed",
    "join_tail",
    "plan",
    "plugin_info",
    "read_index",
    "set_simd_level",
    "simd_level",
    "split_tail",
    "tune",
    "uninstall",
    "write_index",
]

# The command, by its own name or as `python -m drqfaiss`, helps and completes without FAISS. In all other
# programs FAISS is loaded here: what makes it safe to fork has to be there from the start.
_IS_COMMAND = os.path.basename((getattr(sys, "argv", None) or [""])[0]) in ("drqfaiss", "-m")
if TYPE_CHECKING or not _IS_COMMAND:
    from drqfaiss._public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Load a public name, or a module of the package, at its first use."""
    if name in __all__:
        value = getattr(import_module("drqfaiss._public"), name)
        globals()[name] = value
        return value
    module = f"{__name__}.{name}"
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted({*globals(), *__all__})
