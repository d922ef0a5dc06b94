"""Stored pictures are those of the stored figures: after a change of either, `make pictures`."""

import re

import pytest

from benchmarks import pictures

pytestmark = pytest.mark.slow  # draws every picture

STORED = [*pictures.RESULTS.rglob("*.svg"), *pictures.PICTURES.glob("*.svg")]


def test_pictures_are_drawn_from_the_figures(tmp_path, monkeypatch):
    drawn = {}

    def keep(picture, path):
        file = tmp_path / f"{len(drawn)}.svg"
        save(picture, file)
        drawn[path] = texts(file)

    save = pictures.plots.save
    monkeypatch.setattr("benchmarks.common.plots.save", keep)
    pictures.main()
    assert set(drawn) == {path for path in STORED if "matplotlib" in path.read_text()}
    for path, expected in drawn.items():
        assert texts(path) == expected, f"{path}: make pictures"


def texts(path):
    """What a picture says, and where its curves are, to a pixel."""
    content = path.read_text()
    words = re.findall(r"<text[^>]*>([^<]*)</text>", content)
    curves = re.findall(r'<path d="([^"]*)"', content)
    return words, [[round(float(x)) for x in re.findall(r"-?[\d.]+", curve)] for curve in curves]


def test_pictures_are_small_and_bring_their_own_ground():
    for path in STORED:
        assert path.stat().st_size < 250_000, path
        assert "#fcfcfa" in path.read_text(), path
