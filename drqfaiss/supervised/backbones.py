"""Networks that turn images or embeddings into features; `out_features` is the width of what each returns.

Images are uint8 (n, 3, height, width); the networks scale them to zero mean and unit variance themselves, so
a model needs nothing besides the pixels when it serves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drqfaiss import _check
from drqfaiss.supervised.efficientnet import efficientnet_lite0
from drqfaiss.supervised.network import Network

# Mean and standard deviation of the pixels of ImageNet, close enough for any photographs.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class Pixels(nn.Module):
    """uint8 images (n, 3, h, w) to normalised floats, in the memory order convolutions are fastest with."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", 255 * torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return floats of the same shape."""
        pixels = (images.to(self.mean.dtype) - self.mean) / self.deviation
        return pixels.contiguous(memory_format=torch.channels_last)


class Residual(nn.Module):
    """x + layers(x)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of x."""
        return x + self.layers(x)


def none(d: int) -> Network:
    """Return ready embeddings (n, d) as they are."""
    return Network(d, embeddings=nn.Identity())


def mlp(d: int, width: int = 1024, depth: int = 1, dropout: float = 0.2) -> Network:
    """Return a perceptron with `depth` hidden layers on embeddings (n, d)."""
    layers: list[nn.Module] = []
    for size in [d] + [width] * (depth - 1):
        layers += [nn.Linear(size, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)]
    return Network(width, layers=nn.Sequential(*layers))


def resnet(width: int = 64, blocks: tuple[int, int, int] = (1, 0, 1), first_pool: bool = False) -> Network:
    """Return a residual network for small images such as CIFAR's 32 × 32 pixels.

    Three stages double the channels and halve the resolution, each followed by `blocks` residual blocks of
    two convolutions; (1, 0, 1) makes nine layers with the last linear one. It returns 8 · width features.

    Args:
        width: Channels of the first layer.
        blocks: Residual blocks per stage.
        first_pool: Whether to halve the resolution before the first stage already: 4 times fewer operations.
    """
    stages: list[nn.Module] = [convolution(3, width, pool=first_pool)]
    channels = width
    for count in blocks:
        stages.append(convolution(channels, 2 * channels, pool=True))
        channels *= 2
        stages += [
            Residual(convolution(channels, channels), convolution(channels, channels)) for _ in range(count)
        ]
    return pooled(stages, channels)


def convolution(channels: int, out: int, pool: bool = False) -> nn.Sequential:
    """Return a 3 × 3 convolution, batch normalisation and ReLU, all on half the resolution after `pool`.

    Pooling comes before the normalisation: nearly the same function, on a quarter of the numbers.
    """
    layers: list[nn.Module] = [nn.Conv2d(channels, out, 3, padding=1, bias=False)]
    layers += [nn.MaxPool2d(2)] * pool
    return nn.Sequential(*layers, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class Patches(nn.Module):
    """Images (n, 3, h, w) to 24 channels (n, 24, h - 1, w - 1) that describe their patches of 2 × 2 pixels.

    Brightness and two colour differences in four Haar patterns each, scaled to unit variance, with both signs
    so that a ReLU loses nothing. Patches of photographs hardly correlate in these: whitening without data.
    """

    def __init__(self) -> None:
        super().__init__()
        colours = F.normalize(torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]]))
        haar = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
        patterns = torch.einsum("hp,kc->hkcp", haar, colours).reshape(12, 3, 2, 2)
        self.register_buffer("patterns", patterns, persistent=False)
        self.scaling = nn.BatchNorm2d(12, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the channels of floats (n, 3, h, w)."""
        scaled = self.scaling(F.conv2d(images, self.patterns))
        return torch.cat([scaled, -scaled], 1)


def convnet(width: int = 64) -> Network:
    """Return a convolutional network that learns small images, CIFAR's for example, in few epochs.

    Three stages of two convolutions each halve the resolution, with width, 2 · width and 4 · width channels.
    Whitened patches and convolutions that start as identities, as far as they can, make it quick: Jordan,
    "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024. It returns 4 · width features.

    Args:
        width: Channels of the first stage.
    """
    stages: list[nn.Module] = [Patches(), nn.ReLU(inplace=True)]
    channels = 24
    for out in (width, 2 * width, 4 * width):
        stages += [convolution(channels, out, pool=True), convolution(out, out)]
        channels = out
    network = pooled(stages, channels)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            # Outputs beyond the inputs start at random.
            nn.init.dirac_(layer.weight.data[: layer.in_channels])
    return network


def pooled(stages: list[nn.Module], channels: int) -> Network:
    """Return the network of images that takes the largest value of each channel after the stages."""
    pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    network = Network(channels, pixels=Pixels(), stages=nn.Sequential(*stages), pool=pool)
    return network.to(memory_format=torch.channels_last)


def alexnet(dropout: float = 0.5) -> Network:
    """Return AlexNet up to fc7, 4096 features of images of 224 × 224 pixels, with random weights.

    Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012, in the
    one-column form without local response normalisation.
    """
    plan = [(3, 64, 11, 4, 2, True), (64, 192, 5, 1, 2, True), (192, 384, 3, 1, 1, False)]
    plan += [(384, 256, 3, 1, 1, False), (256, 256, 3, 1, 1, True)]
    layers: list[nn.Module] = []
    for channels, out, size, stride, padding, pooled in plan:
        layers += [nn.Conv2d(channels, out, size, stride, padding), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(3, 2)] * pooled
    head = [nn.AdaptiveAvgPool2d(6), nn.Flatten()]
    for channels in (256 * 36, 4096):
        head += [nn.Dropout(dropout), nn.Linear(channels, 4096), nn.ReLU(inplace=True)]
    return Network(4096, pixels=Pixels(), layers=nn.Sequential(*layers), head=nn.Sequential(*head))


BACKBONES: dict[str, Callable[..., Network]] = {
    "alexnet": alexnet,
    "convnet": convnet,
    "efficientnet-lite0": efficientnet_lite0,
    "mlp": mlp,
    "none": none,
    "resnet": resnet,
}


PRETRAINED = ("efficientnet-lite0",)


def build(name: str, options: dict[str, Any]) -> Network:
    """Build a network by its name.

    Raises:
        ValueError: An unknown name.
        TypeError: Options that this network does not have.
    """
    return BACKBONES[_check.one_of("backbone", name, tuple(BACKBONES))](**options)


def unlearned(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the same network with random weights, for weights that are known already."""
    return {**options, "weights": None} if name in PRETRAINED else options
