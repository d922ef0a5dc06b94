"""The options of training: checked when they are made, and the same again out of JSON."""

import inspect
import json
import re
from dataclasses import FrozenInstanceError
from typing import get_type_hints

import numpy as np
import pytest

import drqfaiss
import drqfaiss._least_squares.options as options_module
from drqfaiss._least_squares.options import (
    QUALITIES,
    OtherTrainingArguments,
    TrainingArguments,
    TrainingOptions,
)

ALL = TrainingOptions(
    scale="vector",
    own_first=True,
    prefix_weights={2: 0.5, 8: 1.0},
    quality="best",
    iterations=3,
    beam=4,
    max_vectors=5000,
    seed=7,
    progress=False,
)


def test_they_are_public_and_cannot_be_changed():
    assert drqfaiss.TrainingOptions is TrainingOptions
    with pytest.raises(FrozenInstanceError):
        ALL.seed = 1


def test_arguments_for_type_checkers_are_the_options():
    everything, most, options = (
        get_type_hints(kind, vars(options_module))
        for kind in (TrainingArguments, OtherTrainingArguments, TrainingOptions)
    )
    assert everything == options
    assert not TrainingArguments.__required_keys__
    taken = inspect.signature(drqfaiss.Quantizer.train).parameters
    assert everything.keys() - most.keys() <= taken.keys()


@pytest.mark.parametrize(
    "function",
    [
        drqfaiss.IndexDRQ.__init__,
        drqfaiss.IndexDRQ.from_codebooks,
        drqfaiss.IndexIVFDRQ.__init__,
        drqfaiss.IndexIVFDRQ.from_codebooks,
        drqfaiss.Quantizer.train,
        drqfaiss.Quantizer.to_index,
        drqfaiss.index_factory,
    ],
)
def test_functions_name_the_options_that_they_take(function):
    (options,) = (
        taken for taken in inspect.signature(function).parameters.values() if taken.kind is taken.VAR_KEYWORD
    )
    assert re.fullmatch(r"Unpack\[(Other)?TrainingArguments\]", options.annotation)


def test_none_is_the_default():
    assert TrainingOptions(scale=None, own_first=None, seed=None, progress=None) == TrainingOptions()


@pytest.mark.parametrize("options", [TrainingOptions(), ALL, TrainingOptions(beam=3, seed=1)])
def test_json_gives_the_same_options(options):
    assert TrainingOptions.from_json(options.to_json()) == options


@pytest.mark.parametrize(
    ("options", "own"),
    [
        ({}, None),
        ({"layout": "shared"}, 0),
        ({"own_first": True}, 1),
        ({"layout": "shared", "own_first": True}, 1),
        ({"own_levels": 0}, 0),
        ({"layout": "shared", "own_levels": 3}, 3),
    ],
)
def test_own_levels_are_those_given_or_open(options, own):
    assert TrainingOptions(**options).own == own
    assert TrainingOptions(**options).with_own(5).own == 5


def test_json_holds_what_differs_from_the_defaults():
    assert json.loads(TrainingOptions(beam=3, seed=0).to_json()) == {"beam": 3}
    given = TrainingOptions(beam=np.int64(3), prefix_weights={np.int32(2): np.float32(1)}).for_shape(2, 8)
    assert json.loads(given.to_json()) == {"beam": 3, "prefix_weights": {"2": 1.0}}


def test_quality_says_how_much_work_and_what_is_given_replaces_it():
    assert TrainingOptions(quality="fast").work == QUALITIES["fast"]
    assert TrainingOptions(iterations=3, beam=4).work == (3, 4, QUALITIES["default"].max_vectors, 4)


def test_a_shape_checks_what_depends_on_it():
    assert ALL.for_shape(8, 8) == ALL
    with pytest.raises(ValueError, match="max_vectors: got 5000, expected at least 8192"):
        ALL.for_shape(8, 13)
    with pytest.raises(ValueError, match="prefix_weights: got 8, expected 1 to 4"):
        ALL.for_shape(4, 8)
    with pytest.raises(ValueError, match="bits: got 17, expected 1 to 16"):
        ALL.for_shape(8, 17)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scale": 3}, ValueError, "scale: got 3, expected one of 'geometric', 'level', 'vector'"),
        ({"own_first": 1}, TypeError, "own_first: got 1, expected True or False"),
        ({"own_levels": -1}, ValueError, "own_levels: got -1, expected at least 0"),
        (
            {"own_levels": 2, "own_first": True},
            ValueError,
            "own_levels: got 2 with own_first=True, expected 1",
        ),
        ({"prefix_weights": [1]}, TypeError, r"prefix_weights: got \[1\], expected a dict"),
        ({"max_vectors": 0}, ValueError, "max_vectors: got 0, expected at least 1"),
        ({"beam": 2.5}, TypeError, "beam: got 2.5, expected an integer"),
        ({"speed": 1}, TypeError, "unexpected keyword argument 'speed'"),
    ],
)
def test_bad_options_are_refused_when_they_are_made(options, error, message):
    with pytest.raises(error, match=message):
        TrainingOptions(**options)
