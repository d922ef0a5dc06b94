"""The built-in benchmark data: DAISY descriptors of the photographs inside scikit-image and scikit-learn.

Nothing is downloaded. Every photograph is cut into square tiles; each tile belongs to the learn, the base or
the query set, and a descriptor sees the pixels of its own tile only, so the three sets share no pixel.
"""

from __future__ import annotations

import numpy as np
import skimage.data
from skimage.color import rgb2gray
from skimage.feature import daisy
from sklearn.datasets import load_sample_image
from tqdm import tqdm

from drqfaiss.datasets import Dataset

# The right half of the stereo pair would repeat the left one, in other tiles.
SKIMAGE_NAMES = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "rocket")
SKLEARN_NAMES = ("china.jpg", "flower.jpg")
TILE = 96
# Share of the tiles; the rest is base.
QUERY_TILES, LEARN_TILES = 0.1, 0.25
QUERIES, LEARN = 2_000, 10_000
# (3·5 + 1) histograms of 9 orientations: 144 dimensions, which 2, 4, 6 and 8 bytes of PQ all divide.
DAISY = {"step": 2, "radius": 15, "rings": 3, "histograms": 5, "orientations": 9, "normalization": "off"}
# Sky and blurred background carry only noise once normalised; SIFT detectors drop such regions, too.
LEAST_CONTRAST = 0.5


def load(seed: int = 0) -> Dataset:
    """Compute the descriptors: about 160,000 base vectors, 10,000 to learn from and 2,000 queries."""
    rng = np.random.default_rng(seed)
    tiles = [tile for photograph in _photographs() for tile in _cut(photograph)]
    rng.shuffle(tiles)
    queries, learn = round(QUERY_TILES * len(tiles)), round(LEARN_TILES * len(tiles))
    descriptors = [_describe(tile) for tile in tqdm(tiles, desc="DAISY descriptors", unit="tile")]
    query, base = np.concatenate(descriptors[:queries]), np.concatenate(descriptors[queries + learn :])
    learned = np.concatenate(descriptors[queries : queries + learn])
    return Dataset(
        name="photographs (DAISY, 144-d)",
        learn=rng.choice(learned, LEARN, replace=False),
        base=base,
        query=rng.choice(query, QUERIES, replace=False),
    )


def _photographs() -> list[np.ndarray]:
    images = [getattr(skimage.data, name)() for name in SKIMAGE_NAMES]
    images.append(skimage.data.stereo_motorcycle()[0])
    images += [load_sample_image(name) for name in SKLEARN_NAMES]
    return [rgb2gray(image) if image.ndim == 3 else image / 255 for image in images]


def _cut(photograph: np.ndarray) -> list[np.ndarray]:
    height, width = photograph.shape
    corners = [(y, x) for y in range(0, height - TILE + 1, TILE) for x in range(0, width - TILE + 1, TILE)]
    return [photograph[y : y + TILE, x : x + TILE] for y, x in corners]


def _describe(tile: np.ndarray) -> np.ndarray:
    descriptors = daisy(tile, **DAISY)
    descriptors = descriptors.reshape(-1, descriptors.shape[-1]).astype(np.float32)
    norms = np.linalg.norm(descriptors, axis=1, keepdims=True)
    kept = norms[:, 0] > LEAST_CONTRAST
    return descriptors[kept] / norms[kept]
