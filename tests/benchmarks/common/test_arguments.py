import pytest

from benchmarks.common.arguments import ascending, names, numbers


def test_commas_part_values():
    assert names("drq,PQ fast-scan") == ["drq", "PQ fast-scan"]
    assert numbers("16,8") == [16, 8]
    assert ascending("16,8") == [8, 16]


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="'x'"):
        numbers("8,x")
