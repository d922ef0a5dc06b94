"""Every FAISS release: the same results, with the plug-in or without. `make test-versions` runs this."""

import functools
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drqfaiss._plugin.identity import KNOWN

RELEASES = os.environ["DRQFAISS_TEST_RELEASES"].split()
FOLDERS = Path(os.environ["DRQFAISS_TEST_FOLDERS"])  # of releases, each in faiss-VERSION, and of numpy-1
INSIDE = {build.split()[1] for build in KNOWN["builds"][platform.machine()].values()}


@functools.cache
def results(path, cache):
    """Version, capabilities and results with what is in the folders of `path` before everything else."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([path, os.getcwd()]), "DRQFAISS_CACHE": cache}
    done = subprocess.run(
        [sys.executable, "-m", "tests.versions.results"], capture_output=True, text=True, env=variables
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("release", RELEASES)
def test_the_same_results(release, tmp_path_factory):
    cache = str(tmp_path_factory.getbasetemp() / "cache")
    folders = [str(FOLDERS / f"faiss-{release}")]
    if release.startswith("1.8."):  # was built for NumPy 1
        folders.append(str(FOLDERS / "numpy-1"))
    version, capabilities, found = results(os.pathsep.join(folders), cache)
    assert release == "newest" or release.split(".post")[0] == version
    if version in INSIDE:
        assert set(capabilities.values()) == {""}
    elif release != "newest":
        assert capabilities["flat"]
    _, _, expected = results("", cache)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
