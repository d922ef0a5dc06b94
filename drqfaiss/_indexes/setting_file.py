"""The setting that an index was tuned to, in a JSON file beside it: ``index.drq.json`` of ``index.faiss``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import faiss

from drqfaiss._check import METRIC_NAMES
from drqfaiss._files import writing
from drqfaiss._indexes.settings import Setting, drq_indexes, inverted_indexes

FORMAT = 1


def file_beside(path: str | os.PathLike[str]) -> Path:
    """Return the name of the file of settings beside an index file."""
    return Path(path).with_suffix(".drq.json")


def shape_of(index: faiss.Index) -> dict[str, Any]:
    """Return what an index must have for a setting to mean the same."""
    return {
        "d": index.d,
        "metric": METRIC_NAMES.get(index.metric_type, str(index.metric_type)),
        "levels": [quantizer.rq.M for quantizer in drq_indexes(index)],
        "lists": [ivf.nlist for ivf in inverted_indexes(index)],
    }


def write_setting(path: str | os.PathLike[str], index_shape: dict[str, Any], record: dict[str, Any]) -> Path:
    """Write a setting, under "setting" in the record, beside an index file; return the name of the file.

    Raises:
        OSError: the file cannot be written.
    """
    beside = file_beside(path)
    text = json.dumps({"format": FORMAT, "index": index_shape, **record}, indent=1)
    with writing(beside) as file:
        file.write(text.encode() + b"\n")
    return beside


def read_setting(path: str | os.PathLike[str], index: faiss.Index) -> Setting:
    """Return the setting beside an index file.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no file of settings, or one for an index of another shape.
    """
    beside = file_beside(path)
    try:
        record = json.loads(beside.read_bytes())
        number, shape, setting = record["format"], record["index"], Setting(**record["setting"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{beside}: not a file of settings, or damaged: {error!r}") from None
    if number != FORMAT:
        raise ValueError(f"{beside}: got format {number!r}, expected {FORMAT}")
    if shape != shape_of(index):
        raise ValueError(f"{beside}: got a setting for {shape}, expected one for {shape_of(index)}")
    try:
        setting.check(index)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{beside}: {error}") from None
    return setting
