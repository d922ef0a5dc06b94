"""Training with labels: a network in PyTorch and its quantizer, exported to a plain `Quantizer`.

Song et al., "Deep Recurrent Quantization for Generating Sequential Binary Codes", IJCAI 2019.

The names below need PyTorch and import it when they are first used; nothing else in drqfaiss does.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "AdaptiveMarginLoss": "losses",
    "DRQModel": "model",
    "DistortionLoss": "losses",
    "JointCentralLoss": "losses",
    "LikelihoodLoss": "losses",
    "RecurrentQuantizer": "block",
    "SemiHardTripletLoss": "losses",
    "Trainer": "trainer",
    "TrainerOptions": "trainer",
    "TripletLoss": "losses",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a name from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(f"{name} needs PyTorch: pip install 'drqfaiss[train]'") from error
    return getattr(module, name)
