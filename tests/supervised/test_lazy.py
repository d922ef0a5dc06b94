"""PyTorch is imported only when something of the supervised training is used."""

import subprocess
import sys

import pytest

import drqfaiss.supervised


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_import_does_not_load_torch():
    code = "import drqfaiss, drqfaiss.supervised, drqfaiss.evaluation, sys; assert 'torch' not in sys.modules"
    assert run(code).returncode == 0


def test_without_torch_the_extra_is_named():
    done = run("import sys; sys.modules['torch'] = None\nfrom drqfaiss.supervised import DRQModel")
    assert "ImportError: DRQModel needs PyTorch: pip install 'drqfaiss[train]'" in done.stderr


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute 'Unknown'"):
        drqfaiss.supervised.Unknown  # noqa: B018


def test_every_name_is_there():
    assert all(getattr(drqfaiss.supervised, name) for name in drqfaiss.supervised.__all__)
