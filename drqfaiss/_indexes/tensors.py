"""PyTorch tensors for the methods of our indexes, as ``faiss.contrib.torch_utils`` has them for FAISS's.

Once a program has imported that module, methods that get tensors return tensors.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

_Method = TypeVar("_Method", bound=Callable[..., Any])


def takes_tensors(method: _Method) -> _Method:
    """Let a method that works on NumPy arrays take tensors in memory instead, and then return such."""

    @functools.wraps(method)
    def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        torch = sys.modules.get("torch") if "faiss.contrib.torch_utils" in sys.modules else None
        if torch is None or not any(isinstance(a, torch.Tensor) for a in (*arguments, *options.values())):
            return method(self, *arguments, **options)

        def array(value: Any) -> Any:
            return value.detach().numpy() if isinstance(value, torch.Tensor) else value

        options = {name: array(value) for name, value in options.items()}
        return _as_tensors(torch, method(self, *map(array, arguments), **options))

    return wrapped  # type: ignore[return-value]


def _as_tensors(torch: Any, result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(_as_tensors(torch, part) for part in result)
    if not hasattr(result, "dtype"):
        return result
    if result.dtype == "uint64":  # Offsets of ranges are signed in FAISS's tensors.
        result = result.astype("int64")
    return torch.from_numpy(result)
