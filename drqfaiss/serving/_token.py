"""The bearer token that a client has to show."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

VARIABLE = "DRQFAISS_TOKEN"
MOST_CHARACTERS = 4096


def read_token(path: str | os.PathLike[str] | None) -> str | None:
    """Return the token in a file or, without one, in the environment; None if there is none.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, or not one line of visible ASCII.
    """
    if path is None:
        return _checked(VARIABLE, os.environ[VARIABLE]) if VARIABLE in os.environ else None
    return _checked(os.fspath(path), Path(path).read_bytes()[: MOST_CHARACTERS + 2].decode("latin-1"))


def _checked(name: str, text: str) -> str:
    token = text.strip()
    visible = token.isascii() and token.isprintable() and " " not in token
    if not (0 < len(token) <= MOST_CHARACTERS and visible):
        raise ValueError(f"{name}: got {len(token)} characters, expected a token: visible ASCII in one line")
    return token


def is_token(given: str, expected: str) -> bool:
    """Compare in a time that tells nothing about the token, nor its length."""
    digests = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (given, expected))
    return hmac.compare_digest(*digests)
