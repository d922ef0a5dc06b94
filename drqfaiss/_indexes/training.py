"""How an index trains and encodes: options that stay with it, wherever its object is."""

from __future__ import annotations

import faiss

from drqfaiss._indexes.engines import engine_of
from drqfaiss._least_squares.options import TrainingOptions
from drqfaiss._least_squares.prefixes import gain_weights


def use_drq_training(index: faiss.IndexResidualQuantizer, options: TrainingOptions) -> None:
    """Let an adopted index train and encode as DRQ does. The options stay with the C++ object."""
    set_training(index, options.to_json())
    index.rq.max_beam_size = options.work.encoding_beam


def set_training(index: faiss.IndexResidualQuantizer, options: str) -> None:
    """Set options as `Engine.training` returns them: empty for an index that is no DRQ of ours."""
    gains = gain_weights(index.rq.M, TrainingOptions.from_json(options).prefix_weights) if options else []
    engine_of(index).set_training(index, options, gains)
