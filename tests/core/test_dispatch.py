"""Choosing the SIMD level: the machine's best, the environment's, the caller's."""

import os
import subprocess
import sys

import pytest

from drqfaiss import _core
from tests.conftest import AVAILABLE_LEVELS, SIMD_LEVELS


def import_with(level):
    return subprocess.run(
        [sys.executable, "-c", "import drqfaiss; print(drqfaiss.simd_level())"],
        env={**os.environ, "DRQFAISS_SIMD": level},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_best_level_is_the_default():
    assert import_with("").stdout.strip() == _core.best_simd_level()


@pytest.mark.parametrize("level", AVAILABLE_LEVELS)
def test_the_environment_overrides(level):
    assert import_with(level).stdout.strip() == level


@pytest.mark.parametrize("level", ["sse2", "sve", *SIMD_LEVELS[len(AVAILABLE_LEVELS) :]])
def test_a_level_that_cannot_be_had_fails_the_import(level):
    result = import_with(level)
    assert result.returncode != 0
    assert "ImportError" in result.stderr
    assert level in result.stderr


@pytest.mark.parametrize("level", AVAILABLE_LEVELS)
def test_set_level(level):
    _core.set_simd_level(level)
    assert _core.simd_level() == level


def test_unknown_level():
    with pytest.raises(
        ValueError, match=f"'sse9': expected {', '.join(SIMD_LEVELS[:-1])} or {SIMD_LEVELS[-1]}$"
    ):
        _core.set_simd_level("sse9")
