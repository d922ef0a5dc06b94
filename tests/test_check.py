"""Checks of arguments: what errors show of a value."""

import numpy as np
import pytest

import drqfaiss
from drqfaiss import _check


@pytest.mark.parametrize("value", ["x" * 10_000, list(range(10_000)), -np.ones((8, 384)), {"a": "b" * 999}])
def test_large_values_are_not_shown_whole(value):
    assert len(_check.shown(value)) < 210
    assert "\n" not in _check.shown(value)


def test_small_values_are_shown_as_they_are():
    assert _check.shown("all") == "'all'"
    assert _check.shown(np.array([3, 1])) == "[3, 1]"


def test_errors_name_large_values_in_a_line():
    with pytest.raises(ValueError, match=r"scales: got .*expected at least one, all positive") as caught:
        drqfaiss.Quantizer(np.zeros((4, 384), np.float32), -np.ones((8, 384)))
    assert len(str(caught.value)) < 300
    with pytest.raises(TypeError, match="M: got ") as caught:
        drqfaiss.IndexDRQ(8, list(range(10_000)))
    assert len(str(caught.value)) < 300
