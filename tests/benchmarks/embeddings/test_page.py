"""Tables of the lab page, from rows and as they are stored."""

import pytest

from benchmarks.embeddings import page
from benchmarks.embeddings.report import Costs, Row
from benchmarks.embeddings.sets import SETS


def row(method, m, found, *, held=0, oversampled=0, by="", us=12.0, norms=False):
    shares = {"10@10": found, "10@100": found, "1@10": found}
    own, costs = method == "DRQ", Costs(1, 1, 1)
    return Row(method, f"{method}-{m}", m, oversampled, held or m, costs, shares, own, us, us, by, norms)


ROWS = [
    row("DRQ", 8, 0.5),
    row("DRQ", 16, 0.6, us=20.0),
    row("DRQ", 16, 0.9, held=48, oversampled=4, by="int8"),
    row("DRQ", 4, 0.55, held=16, oversampled=10, by="all levels"),
    row("PQ", 16, 0.625),
    row("RaBitQ, 1 bit", 12, 0.4),
    row("SQ4", 4, 0.3),
]


def test_the_best_of_every_length_is_bold():
    assert page.lengths(ROWS).splitlines() == [
        "| 10@10 at so many bytes | 8 | 16 |",
        "|---|--:|--:|",
        "| DRQ | **.500** | .600 |",
        "| PQ |  | **.625** |",
    ]


def test_codes_of_their_own_length_stand_beside_drq_of_no_more_bytes():
    assert page.own_lengths(ROWS).splitlines()[2:] == [
        "| RaBitQ, 1 bit | 12 | .400 | 12 | 8 | .500 | 12 |",
        "| SQ4 | 4 | .300 | 12 |  |  |  |",
    ]


def test_refined_searches_tell_what_they_hold():
    assert page.refined(ROWS).splitlines()[2:] == [
        "| DRQ, 4k by int8 | 16 | 48 | .900 | 12 | 12 |",
        "| DRQ, 10k by all levels | 4 | 16 | .550 | 12 | 12 |",
    ]


def test_what_to_expect_has_a_line_for_each_set():
    assert page.expected({"minilm": ROWS, "glosses": ROWS[:1]}).splitlines() == [
        "| embeddings | 8 | 16 |",
        "|---|--:|--:|",
        "| MiniLM: sentences, 384-d | .500 | .600 |",
        "| USE: sentences, 512-d | .500 |  |",
    ]


def test_norms_have_rows_and_bytes_of_their_own():
    rows = [*ROWS, row("DRQ", 8, 0.7, held=12, us=12.0, norms=True)]
    assert page.lengths(rows).splitlines()[2:4] == [
        "| DRQ | .500 | .600 |",
        "| DRQ with norms | **.700** |  |",
    ]
    assert page.own_lengths(rows).splitlines()[2] == "| RaBitQ, 1 bit | 12 | .400 | 12 | 12 | .700 | 12 |"
    assert page.expected({"minilm": rows}).splitlines()[2:] == [
        "| MiniLM: sentences, 384-d | .500 | .600 |",
        "| MiniLM: sentences, 384-d with norms | .700 |  |",
    ]


@pytest.mark.parametrize("path", [page.LAB, page.HOW_TO])
def test_pages_have_the_tables_of_the_figures(path):
    text = path.read_text()
    assert page.renewed(text) == text, "make pictures"


def test_every_set_has_its_place():
    text = page.LAB.read_text()
    assert all(f"<!-- {name} -->" in text for name in SETS)
