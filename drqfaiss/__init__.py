"""Deep Recurrent Quantization for FAISS: one codebook, and a code length chosen at query time."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drqfaiss._public import *  # noqa: F403

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


def __getattr__(name: str) -> Any:
    """Load a public name, or a module of the package, at its first use.

    So `drqfaiss --help` need not wait for FAISS, nor a program that imports more than it uses.
    """
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
