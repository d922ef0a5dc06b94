"""``install``: FAISS's own functions return fast indexes, for programs that call them themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import faiss

from drqfaiss._faiss.adopt import adopt_all
from drqfaiss._faiss.clone import adopt_clone
from drqfaiss._faiss.factory import index_factory
from drqfaiss._faiss.io import attach, head_of
from drqfaiss._faiss.parameter_space import HOOKS as _SPACE_HOOKS

_Function = Callable[..., Any]


def _reading(stock: _Function) -> _Function:
    @functools.wraps(stock)
    def read_index(*arguments: Any) -> faiss.Index:
        index = adopt_all(stock(*arguments))
        name = arguments[0] if arguments else None
        return attach(index, name) if isinstance(name, str) and head_of(index) is not None else index

    return read_index


def _cloning(stock: _Function) -> _Function:
    @functools.wraps(stock)
    def clone_index(index: faiss.Index) -> faiss.Index:
        return adopt_all(adopt_clone(index, stock(index)))

    return clone_index


def _building(stock: _Function) -> _Function:
    @functools.wraps(stock)
    def build_index(*arguments: Any) -> faiss.Index:
        if len(arguments) < 2 or "DRQ" not in str(arguments[1]):
            return adopt_all(stock(*arguments))
        try:
            return index_factory(*arguments)
        except ValueError as error:  # Callers of FAISS's function expect FAISS's exception.
            raise RuntimeError(str(error)) from error

    return build_index


# What is replaced, by the module or class that has it. faiss.deserialize_index and unpickling call
# faiss.read_index.
_HOOKS: dict[Any, dict[str, Callable[[_Function], _Function]]] = {
    faiss: {"read_index": _reading, "clone_index": _cloning, "index_factory": _building},
    faiss.ParameterSpace: _SPACE_HOOKS,
}
_stock: dict[tuple[Any, str], _Function] = {}
_ours: dict[tuple[Any, str], _Function] = {}


def install() -> None:
    """Let ``faiss.read_index``, ``faiss.clone_index`` and ``faiss.index_factory`` return fast indexes.

    Every residual quantizer index in what they return is adopted, also through ``faiss.deserialize_index``
    and unpickling, and ``index_factory`` understands ``DRQ8x8``. Side files of files with names are mapped,
    and refused as `drqfaiss.read_index` does. Other arguments and exceptions stay FAISS's, but own_invlists
    is not for descriptions with DRQ. Code
    that took a function out of the faiss module before (``from faiss import read_index``) keeps the old one.
    Installing again changes nothing.

    ``faiss.ParameterSpace`` knows levels: ``set_index_parameters(index, "levels=6,refine_factor=20")``, with
    ``refine_levels`` for those that rank, and ``initialize`` and ``explore`` try them.
    """
    for owner, hooks in _HOOKS.items():
        for name, hook in hooks.items():
            if (owner, name) not in _ours:
                _stock[owner, name] = getattr(owner, name)
                _ours[owner, name] = hook(_stock[owner, name])
                setattr(owner, name, _ours[owner, name])


def uninstall() -> None:
    """Give FAISS its functions back. Indexes that were adopted stay so.

    Raises:
        RuntimeError: If something else replaced one of the functions after ``install``. Nothing is changed.
    """
    for (owner, name), function in _ours.items():
        if getattr(owner, name) is not function:
            raise RuntimeError(
                f"{_called(owner)}.{name}: got {getattr(owner, name)!r}, expected the function that "
                "drqfaiss.install() set: undo the later replacement first"
            )
    for (owner, name), function in _stock.items():
        setattr(owner, name, function)
    _stock.clear()
    _ours.clear()


def _called(owner: Any) -> str:
    return "faiss" if owner is faiss else f"faiss.{owner.__name__}"


@contextmanager
def installed() -> Iterator[None]:
    """Install for a ``with`` block; what was installed before the block stays installed after it."""
    before = bool(_ours)
    install()
    try:
        yield
    finally:
        if not before:
            uninstall()
