"""A few inputs of every target; `make fuzz` looks longer."""

import pytest

from tests.fuzz.run import TARGETS, look

pytestmark = pytest.mark.slow  # a second for every target


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_are_read_or_refused(target):
    result = look(target, inputs=100)
    assert result.findings == []
    assert result.executions == 100
