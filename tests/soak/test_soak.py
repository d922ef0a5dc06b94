"""A short soak; `make soak` is the long one."""

import pytest

from tests.soak.operations import READERS, WRITERS
from tests.soak.watch import Soak

pytestmark = pytest.mark.slow  # seconds of load


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_indexes_of_all_kinds_under_load(tmp_path):
    soak = Soak(tmp_path)
    assert soak.run(seconds=8) == []
    assert {operation.__name__ for operation in [*READERS, *WRITERS]} == set(soak.done)
