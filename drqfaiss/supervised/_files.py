"""PyTorch files that are written whole or not at all, and checked when they are read."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from drqfaiss._files import writing

# What PyTorch raises for files that are not its own.
UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    KeyError,
    ValueError,
)


def save(path: str | os.PathLike[str], kind: str, version: int, content: dict[str, Any]) -> None:
    """Write a dictionary of tensors and plain values; a file of that name stays as it is until the end."""
    with writing(path) as file:
        torch.save({"format": kind, "version": version, **content}, file)


def load(path: str | os.PathLike[str], kind: str, version: int) -> dict[str, Any]:
    """Read what `save` wrote, tensors to CPU memory.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, of another kind, or was written by a newer version.
    """
    content = read(path, f"{kind} file")
    if not isinstance(content, dict) or content.get("format") != kind:
        raise ValueError(f"{path}: got another kind of file, expected {kind}")
    written = content.get("version")
    if not isinstance(written, int):
        raise ValueError(f"{path}: a damaged {kind} file (got version {written!r}, expected a number)")
    if written > version:
        raise ValueError(f"{path}: got {kind} version {written}, expected at most {version}: newer code")
    return content


def read(path: str | os.PathLike[str], what: str) -> Any:
    """Read what PyTorch wrote, tensors to CPU memory and no code; `what` it should be is for the error.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged or something else.
    """
    data = Path(path).read_bytes()  # Errors from here on are those of the content.
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: not a {what}, or damaged ({reason})") from error
