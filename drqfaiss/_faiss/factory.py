"""index_factory with DRQ in the description: everything else is left to FAISS's own parser."""

from __future__ import annotations

import re
from typing import Any

import faiss

from drqfaiss import _check
from drqfaiss._faiss.adopt import why_not
from drqfaiss._indexes.base import use_storable_tables
from drqfaiss._indexes.engines import engine_of
from drqfaiss._indexes.nested import as_drq, residual_quantizers
from drqfaiss._indexes.training import use_drq_training
from drqfaiss._least_squares.options import TrainingOptions

_DRQ = re.compile(r"(?<![A-Za-z0-9_])DRQ(\d+)(?:x(\d+))?(s|(?:g(\d+))?b(\d+))?(?![A-Za-z0-9_])")
_DEFAULT_NBITS = "8"


def index_factory(d: int, description: str, metric: int = faiss.METRIC_L2, **training: Any) -> faiss.Index:
    """Build an index from a description, as ``faiss.index_factory`` does.

    ``DRQ8x8`` is an IndexDRQ of 8 levels of 8 bits, ``DRQ8`` the same. It may stand where FAISS accepts
    ``RQ8x8``: ``PCA64,DRQ8x8``, ``OPQ8_64,DRQ8x8``, ``IDMap2,DRQ8x8``, ``DRQ8x8,RFlat``, and in inverted
    lists ``IVF1024,DRQ8x8``, ``IVF4096_HNSW32,DRQ16x8``. A description without DRQ is FAISS's own.

    A layout may follow: ``DRQ16x8s`` shares a codebook among all levels, ``DRQ96x8b16`` has blocks of 16
    dimensions, ``DRQ96x8g8b16`` has them after 8 levels in all dimensions. Without, training chooses.

    Args:
        d: Dimensions of the vectors that go in.
        description: FAISS's factory string with ``DRQ<levels>x<bits>`` in it.
        metric: ``faiss.METRIC_L2`` or ``faiss.METRIC_INNER_PRODUCT``.
        **training: How DRQ trains, the options of `TrainingOptions`.

    Raises:
        TypeError, ValueError: Naming the argument and what was expected.
    """
    d = _check.integer("d", d, 1)
    if not isinstance(description, str):
        raise TypeError(f"description: got {_check.shown(description)}, expected a string")
    if "DRQ" not in description:
        if training:
            raise TypeError(
                f"{', '.join(training)}: got options of DRQ, expected none for description {description!r}"
            )
        return _build(d, description, description, metric)
    stock, count = _as_stock(description)
    index = _build(d, stock, description, metric)
    found = list(residual_quantizers(index))
    if len(found) != count:
        raise ValueError(
            f"description: got {description!r}, expected DRQ in flat and IVF indexes, with IDMap, "
            "transforms and refinement, and not beside RQ"
        )
    if reason := why_not(*found):
        raise ValueError(f"description: got {description!r}, but {reason}")
    options = TrainingOptions(**_with_layout(description, training))
    shaped = [options.for_shape(quantizer.rq.M, quantizer.rq.nbits.at(0)) for quantizer in found]
    for quantizer, own in zip(found, shaped, strict=True):
        use_storable_tables(quantizer.rq)
        engine_of(quantizer).adopt(quantizer)
        use_drq_training(quantizer, own)
    return as_drq(index)


def _as_stock(description: str) -> tuple[str, int]:
    """Return a description with RQ in the place of DRQ, and how often it stands there.

    Numbers are checked here: FAISS's parser takes absurd ones, or says nothing about them.
    """
    stock, count = _DRQ.subn(lambda match: f"RQ{match[1]}x{match[2] or _DEFAULT_NBITS}", description)
    if "DRQ" in stock:
        raise ValueError(
            f"description: got {description!r}, expected DRQ<levels>x<bits> or DRQ<levels>, "
            "and s, b<block size> or g<global levels>b<block size> after it"
        )
    for match in _DRQ.finditer(description):
        _check.integer(f"description: levels of {match[0]!r}", int(match[1]), 1, 2**16)
        _check.integer(f"description: bits of {match[0]!r}", int(match[2] or _DEFAULT_NBITS), 1, 16)
    for match in re.finditer(r"IVF(\d+)", description):
        _check.integer(f"description: lists of {match[0]!r}", int(match[1]), 1)
    return stock, count


def _with_layout(description: str, training: dict[str, Any]) -> dict[str, Any]:
    """Return options of training with the layout that the description names, if it does."""
    match = next(_DRQ.finditer(description))
    if not match[3]:
        return training
    named: dict[str, Any] = {"layout": "shared" if match[3] == "s" else "blocks"}
    if match[4]:
        named["global_levels"] = int(match[4])
    if match[5]:
        named["block_size"] = int(match[5])
    if both := named.keys() & training.keys():
        raise TypeError(
            f"{min(both)}: got it in description {description!r} and as an argument, expected one"
        )
    return {**training, **named}


def _build(d: int, stock: str, description: str, metric: int) -> faiss.Index:
    try:
        return faiss.index_factory(d, stock, metric)
    except RuntimeError as error:
        raise ValueError(f"description: FAISS cannot build {description!r}: {error}") from None
