import re
from itertools import combinations

import numpy as np
import pytest

from benchmarks.common import plots


def test_spread_keeps_order_and_distance_and_moves_as_little_as_possible():
    np.testing.assert_allclose(plots.spread([0.1, 0.9, 0.5], 0.2), [0.1, 0.9, 0.5])
    np.testing.assert_allclose(plots.spread([0.5, 0.5, 0.5], 0.2), [0.3, 0.5, 0.7])
    np.testing.assert_allclose(plots.spread([0.5, 0.4, 0.0], 0.2), [0.55, 0.35, 0.0])
    places = np.sort(plots.spread(np.random.default_rng(0).random(20), 0.05))
    assert np.diff(places).min() >= 0.05 - 1e-12


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("DRQ level own", "DRQ"),
        ("DRQ8x8", "DRQ"),
        ("PQ", "PQ"),
        ("OPQ", "OPQ"),
        ("IVFPQ", "PQ"),
        ("IVFPQ fast-scan+RFlat", "fast-scan"),
        ("IVF-RQ", "RQ"),
        ("RQ beam 16", "RQ"),
        ("HNSW", ""),
    ],
)
def test_a_method_keeps_its_colour_whatever_stands_beside_its_name(name, method):
    assert plots.method_of(name) == method
    colour = plots.Curve(name, [0], [0]).style["color"]
    assert colour == (plots.COLOURS[method] if method else plots.GREY)


def test_labels_stand_beside_the_panel_and_apart(tmp_path):
    names = ["DRQ", "PQ", "OPQ", "RQ"]
    curves = [plots.Curve(name, [1, 2, 3], [0.1, 0.5, 0.9]) for name in names]
    picture = plots.compare(curves, "title", "about", ylim=(0, 1))
    picture.draw_without_rendering()
    panel = picture.axes[0]
    boxes = [text.get_window_extent() for text in panel.texts]
    assert [text.get_text() for text in panel.texts] == names
    assert all(box.x0 >= panel.bbox.x1 for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    plots.save(picture, tmp_path / "x.svg")
    assert "legend" not in (tmp_path / "x.svg").read_text()


def test_many_curves_get_a_panel_each():
    curves = [plots.Curve(f"method {i}", [1, 2], [i, i + 1]) for i in range(plots.MOST_CURVES + 1)]
    picture = plots.compare(curves, "title", "about", xlabel="x", ylabel="y")
    shown = [panel for panel in picture.axes if panel.get_visible()]
    assert [panel.get_title(loc="left") for panel in shown] == [curve.name for curve in curves]


def test_the_same_figures_give_the_same_file(tmp_path):
    for name in ("a.svg", "b.svg"):
        curves = [plots.Curve("DRQ", [1, 2], [1, 2])]
        plots.save(plots.compare(curves, "title", "about"), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert re.search(r"<text[^>]*>DRQ</text>", (tmp_path / "a.svg").read_text())
