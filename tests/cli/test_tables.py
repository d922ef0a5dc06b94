import numpy as np
import pytest
from rich.console import Console

from drqfaiss.cli import tables
from drqfaiss.cli.tables import UNLIMITED, Rows, lines

PLAIN = Console(width=UNLIMITED, force_terminal=False)


def test_long_values_and_names_are_folded():
    rows = [{"index": "DRQ4x8", "us_per_vector": 1.5, "recall_1_at_1": 0.25}]
    result = {"d": 2, "path": "one/two  three four/five/six/seven", "rows": rows}
    assert "\n".join(lines(result, PLAIN, 30)) == (
        "d:    2\n"
        "path: one/two  three\n"
        "      four/five/six/seven\n"
        "           add\n"
        "           µs/\n"
        " index  vector   1@1\n"
        "DRQ4x8     1.5  0.25"
    )


def test_a_word_stays_whole_on_a_narrow_terminal():
    path = "a/path/that/is/longer/than/the/terminal.faiss"
    assert [*lines({"output": path, "d": 2}, PLAIN, 20)] == [f"output: {path}", "d:      2"]


def test_tables_are_aligned():
    assert [*lines({"rows": [{"a": 1, "long": None}, {"a": 12.34567, "long": "x"}]}, PLAIN)] == [
        "    a  long",
        "    1     -",
        "12.35     x",
    ]
    assert [*lines({"name": np.pi, "list": ["a", 2], "none": [], "rows": []}, PLAIN)] == [
        "name: 3.142",
        "list: a, 2",
        "none: -",
    ]


def test_long_tables_are_drawn_in_parts(monkeypatch):
    rows = [{"id": number, "name": "x" * (number % 7)} for number in range(50)]
    whole = [*lines({"rows": rows}, PLAIN)]
    monkeypatch.setattr(tables, "DRAWN_AT_ONCE", 8)
    assert [*lines({"rows": rows}, PLAIN)] == whole
    assert len(whole) == 51


def test_rows_appear_as_they_come():
    asked = []

    def measured():
        for number in (1, 12.34567):
            asked.append(number)
            yield {"index": "a" * int(number // 10 + 1), "levels": None, "us_per_query": number}

    shown = lines({"rows": Rows(measured(), {"index": "aa"}, hidden=["levels"])}, PLAIN)
    assert next(shown) == "         µs/"
    assert next(shown) == "index  query"
    assert next(shown) == "    a      1"
    assert asked == [1]
    assert [*shown] == ["   aa  12.35"]
    assert [*lines({"rows": Rows(iter([]))}, PLAIN)] == []


@pytest.mark.parametrize(
    ("terminal", "no_color", "bold"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_only_terminals_get_bold_heads(terminal, no_color, bold, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1" if no_color else "")
    console, columns = tables.terminal()
    assert (columns is not None) == terminal
    shown = "".join(lines({"file": "[bold]x[/]", "rows": [{"id": 1}]}, console, columns))
    assert ("\x1b" in shown) == bold
    assert "[bold]x[/]" in shown
