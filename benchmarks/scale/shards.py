"""Folders of shards of any size: real codes, repeated with a random last byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import drqfaiss
from drqfaiss._check import METRIC_NAMES
from drqfaiss.datasets import Dataset
from drqfaiss.distributed import Manifest
from drqfaiss.distributed._codec import codec_digest
from drqfaiss.distributed._contents import written
from drqfaiss.distributed._manifest import ROWS, numbered, shard_name

ENCODED = 50_000
# How well codes fit hardly changes what searches and encoding cost.
TRAINING = {"quality": "fast", "progress": False}


def train(data: Dataset, levels: int, seed: int) -> drqfaiss.IndexDRQ:
    """Return an empty index of so many levels of 8 bits."""
    index = drqfaiss.index_factory(data.d, f"DRQ{levels}x8", data.metric, seed=seed, **TRAINING)
    index.train(data.learn)
    return index


def fill(trained: drqfaiss.IndexDRQ, data: Dataset, folder: Path, shards: int, per_shard: int) -> Path:
    """Write a folder of shards of so many vectors each."""
    folder.mkdir(parents=True)
    drqfaiss.write_index(trained, folder / "trained.faiss")
    codes = trained.sa_encode(data.base[:ENCODED])
    rng, files = np.random.default_rng(0), []
    for i in range(shards):
        rows = np.resize(codes, (per_shard, codes.shape[1]))
        rows[:, trained.rq.M - 1] = rng.integers(0, 256, per_shard, np.uint8)
        index = drqfaiss.clone_index(trained)
        index.add_sa_codes(rows, None)
        files.append(written(index, folder / shard_name(i)))
    metric = METRIC_NAMES[trained.metric_type]
    numbered(Manifest(trained.d, metric, codec_digest(trained), ROWS, tuple(files))).write(folder)
    return folder
