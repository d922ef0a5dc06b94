"""The former name of the supervised training still works, and says what to write instead."""

import pytest

import drqfaiss.supervised
import drqfaiss.training


def test_the_former_names_are_the_new_ones_with_a_warning():
    assert drqfaiss.training.__all__ == drqfaiss.supervised.__all__
    with pytest.warns(DeprecationWarning, match="import DRQModel from drqfaiss.supervised"):
        from drqfaiss.training import DRQModel
    assert DRQModel is drqfaiss.supervised.DRQModel


def test_unknown_names():
    with pytest.raises(AttributeError, match=r"'drqfaiss.training' has no attribute 'Unknown'"):
        drqfaiss.training.Unknown  # noqa: B018
