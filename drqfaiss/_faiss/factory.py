"""index_factory with DRQ in the description: everything else is left to FAISS's own parser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import faiss

from drqfaiss import _check
from drqfaiss._faiss.adopt import why_not
from drqfaiss._indexes.base import use_storable_tables
from drqfaiss._indexes.engines import engine_of
from drqfaiss._indexes.nested import as_drq, residual_quantizers
from drqfaiss._indexes.training import use_drq_training
from drqfaiss._least_squares.options import TrainingArguments, TrainingOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

_WIDTHS = r"\d+(?:x\d+(?:_\d+x\d+)*)?"  # levels and their bits, run after run
_LAYOUT = r"s|(?:g(?P<global>\d+))?b(?P<block>\d+)"
_DRQ = re.compile(rf"(?<![A-Za-z0-9_])DRQ(?P<widths>{_WIDTHS})(?P<layout>{_LAYOUT})?(?![A-Za-z0-9_])")
_DEFAULT_NBITS = "8"


def index_factory(
    d: int, description: str, metric: int = faiss.METRIC_L2, **training: Unpack[TrainingArguments]
) -> faiss.Index:
    """Build an index from a description, as ``faiss.index_factory`` does.

    ``DRQ8x8`` is an IndexDRQ of 8 levels of 8 bits, ``DRQ8`` the same. It may stand where FAISS accepts
    ``RQ8x8``: ``PCA64,DRQ8x8``, ``OPQ8_64,DRQ8x8``, ``IDMap2,DRQ8x8``, ``DRQ8x8,RFlat``, and in inverted
    lists ``IVF1024,DRQ8x8``, ``IVF4096_HNSW32,DRQ16x8``. A description without DRQ is FAISS's own.

    Levels may have different bits, run after run: ``DRQ12x4_10x8`` has 12 of 4 bits and 10 of 8.

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
    widest = [max(faiss.vector_to_array(quantizer.rq.nbits).tolist()) for quantizer in found]
    shaped = [options.for_shape(own.rq.M, bits) for own, bits in zip(found, widest, strict=True)]
    for quantizer, own in zip(found, shaped, strict=True):
        use_storable_tables(quantizer.rq)
        engine_of(quantizer).adopt(quantizer)
        use_drq_training(quantizer, own)
    return as_drq(index)


def _as_stock(description: str) -> tuple[str, int]:
    """Return a description with RQ in the place of DRQ, and how often it stands there.

    Numbers are checked here: FAISS's parser takes absurd ones, or says nothing about them.
    """
    stock, count = _DRQ.subn(lambda match: "RQ" + "_".join(f"{M}x{n}" for M, n in _runs(match)), description)
    if "DRQ" in stock:
        raise ValueError(
            f"description: got {description!r}, expected DRQ<levels>x<bits> or DRQ<levels>, _<levels>x<bits> "
            "after it for levels of other bits, s, b<block size> or g<global levels>b<block size> at the end"
        )
    for match in _DRQ.finditer(description):
        for levels, bits in _runs(match):
            _check.integer(f"description: levels of {match[0]!r}", int(levels), 1, 2**16)
            _check.integer(f"description: bits of {match[0]!r}", int(bits), 1, 16)
    for match in re.finditer(r"IVF(\d+)", description):
        _check.integer(f"description: lists of {match[0]!r}", int(match[1]), 1)
    return stock, count


def _runs(match: re.Match[str]) -> list[tuple[str, str]]:
    """Return levels and bits of every run of them."""
    runs = (run.partition("x") for run in match["widths"].split("_"))
    return [(levels, bits or _DEFAULT_NBITS) for levels, _, bits in runs]


def _with_layout(description: str, training: TrainingArguments) -> TrainingArguments:
    """Return options of training with the layout that the description names, if it does."""
    match = next(_DRQ.finditer(description))
    if not match["layout"]:
        return training
    named: TrainingArguments = {"layout": "shared" if match["layout"] == "s" else "blocks"}
    if match["global"]:
        named["global_levels"] = int(match["global"])
    if match["block"]:
        named["block_size"] = int(match["block"])
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
