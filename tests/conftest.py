"""Fixtures of all tests."""

import platform

import pytest

from drqfaiss import _core
from drqfaiss._plugin import available

SIMD_LEVELS = {"x86_64": ["scalar", "avx2", "avx512"], "aarch64": ["scalar", "neon"]}[platform.machine()]
AVAILABLE_LEVELS = SIMD_LEVELS[: SIMD_LEVELS.index(_core.best_simd_level()) + 1]


@pytest.fixture
def without_plugin(monkeypatch):
    """Nothing of FAISS may be replaced."""
    monkeypatch.setattr(available, "has", lambda capability: False)
    monkeypatch.setattr(available, "_warn", lambda reason: None)


@pytest.fixture(params=["plug-in", "python"])
def engine(request):
    """How indexes work: inside FAISS, or through Python."""
    if request.param == "python":
        request.getfixturevalue("without_plugin")
    return request.param


@pytest.fixture(autouse=True)
def restore_simd_level():
    """No test leaves another SIMD level behind."""
    before = _core.simd_level()
    yield
    _core.set_simd_level(before)
