"""Progress is shown on terminals only, and says what is left."""

import sys

import pytest

from drqfaiss import _progress
from drqfaiss._progress import bar


def count(total, done=0, **options):
    with bar("adding", "vectors", total, done, **options) as shown:
        for _ in range(5):
            shown.update(2)


@pytest.fixture(params=["rich", "without rich"])
def on_terminal(request, monkeypatch):
    """Counts on a terminal, once with rich and once without."""
    monkeypatch.setattr(_progress, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    if request.param != "rich":
        monkeypatch.setitem(sys.modules, "rich", None)

    def counted(*arguments, **options):
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        count(*arguments, **options)

    return counted


def test_a_terminal_gets_what_is_done_and_what_is_left(on_terminal, capsys):
    on_terminal(20, done=10)
    out, err = capsys.readouterr()
    assert out == ""
    assert "20/20 vectors" in err
    assert "left" in err
    assert "\n" in err


def test_a_total_need_not_be_known(on_terminal, capsys):
    on_terminal(None)
    assert "10 vectors" in capsys.readouterr().err


def test_the_end_is_shown_though_it_comes_soon(on_terminal, capsys, monkeypatch):
    monkeypatch.setattr(_progress, "SECONDS_BETWEEN", 1000.0)
    on_terminal(10)
    assert "10/10 vectors" in capsys.readouterr().err


def test_nothing_is_shown_elsewhere(capsys):
    count(10)
    assert capsys.readouterr() == ("", "")


def test_nothing_is_shown_unasked(on_terminal, capsys):
    on_terminal(10, shown=False)
    assert capsys.readouterr() == ("", "")
