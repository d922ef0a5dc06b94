"""Fixtures of all tests."""

import pytest

from drqfaiss import _core

SIMD_LEVELS = ["scalar", "avx2", "avx512"]
AVAILABLE_LEVELS = SIMD_LEVELS[: SIMD_LEVELS.index(_core.best_simd_level()) + 1]


@pytest.fixture(autouse=True)
def restore_simd_level():
    """No test leaves another SIMD level behind."""
    before = _core.simd_level()
    yield
    _core.set_simd_level(before)
