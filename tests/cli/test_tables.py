import numpy as np

from drqfaiss.cli.tables import Rows, lines, table


def test_long_values_and_names_are_folded():
    rows = [{"index": "DRQ4x8", "us_per_vector": 1.5, "recall_1_at_1": 0.25}]
    assert "\n".join(lines({"d": 2, "path": "one/two  three four/five/six/seven", "rows": rows}, 30)) == (
        "d:    2\n"
        "path: one/two  three\n"
        "      four/five/six/seven\n"
        "           add\n"
        "           µs/\n"
        " index  vector   1@1\n"
        "DRQ4x8     1.5  0.25"
    )


def test_tables_are_aligned():
    assert table([{"a": 1, "long": None}, {"a": 12.34567, "long": "x"}]) == [
        "    a  long",
        "    1     -",
        "12.35     x",
    ]
    assert [*lines({"name": np.pi, "list": ["a", 2], "none": [], "rows": []})] == [
        "name: 3.142",
        "list: a, 2",
        "none: -",
    ]


def test_rows_appear_as_they_come():
    asked = []

    def measured():
        for number in (1, 12.34567):
            asked.append(number)
            yield {"index": "a" * int(number // 10 + 1), "levels": None, "us_per_query": number}

    shown = lines({"rows": Rows(measured(), {"index": "aa"}, hidden=["levels"])})
    assert next(shown) == "         µs/"
    assert next(shown) == "index  query"
    assert next(shown) == "    a      1"
    assert asked == [1]
    assert [*shown] == ["   aa  12.35"]
    assert [*lines({"rows": Rows(iter([]))})] == []
