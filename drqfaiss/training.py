"""The former name of `drqfaiss.supervised`: the same names, with a warning.

Deprecated. Training without labels, which was here too, needs no import: `Quantizer.train`, `IndexDRQ.train`.
"""

from __future__ import annotations

import warnings
from typing import Any

from drqfaiss import supervised

__all__ = sorted(supervised.__all__)


def __getattr__(name: str) -> Any:
    """Return a name of `drqfaiss.supervised`."""
    if name not in supervised.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"drqfaiss.training is deprecated: import {name} from drqfaiss.supervised",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(supervised, name)
