"""What every backbone of this package is."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


class Network(nn.Sequential):
    """Layers with a known output width."""

    def __init__(self, out_features: int, **layers: nn.Module) -> None:
        super().__init__(OrderedDict(layers))
        self.out_features = out_features
