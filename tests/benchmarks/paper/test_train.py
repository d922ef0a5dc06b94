"""The paper's experiments on little data, end to end, and the splits of its protocol."""

import json
from argparse import Namespace
from functools import partial

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.paper import tasks, train
from benchmarks.paper.ablation import FULL
from tests.benchmarks.running import run_module

pytestmark = pytest.mark.slow  # whole comparisons, in processes of their own

PEERS = {"PQ", "ITQ"}


run = partial(run_module, "benchmarks.paper.train")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Scanned digits as labelled embeddings of 64 dimensions."""
    folder = tmp_path_factory.mktemp("paper")
    x, y = load_digits(return_X_y=True)
    x = (x - x.mean(0)).astype(np.float32)
    for part, rows in (("base", slice(0, 1500)), ("query", slice(1500, None))):
        np.save(folder / f"digits_{part}.npy", x[rows])
        np.save(folder / f"digits_{part}_label.npy", y[rows])
    return folder / "digits"


def embeddings(data, out, *arguments):
    settings = ["--epochs", "3,1,2", "--hidden", 22, "--threads", 1, "--run", out / "runs"]
    return run("embeddings", "--data", data, "--out", out, *settings, *arguments)


@pytest.fixture(scope="module")
def results(digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    done = embeddings(digits, out, "--peers", ",".join(PEERS), "--tsne", 100)
    assert done.returncode == 0, done.stderr
    return done.stdout, out


def test_rows_for_every_method_and_length(results):
    rows = json.loads((results[1] / "embeddings.json").read_text())["results"]
    lengths = {}
    for row in rows:
        lengths.setdefault((row["method"], row["features"]), []).append(row["bits"])
        assert 0 < row["mean_ap"] <= 1
        assert len(row["precision"]) == len(row["ranks"]) == len(row["pr_recall"])
    expected = {
        ("DRQ", "learned"),
        ("DRQ, polished", "learned"),
        ("DRQ, own first", "learned"),
        ("DRQ without labels", "raw"),
    }
    expected |= {(peer, kind) for peer in PEERS for kind in ("learned", "raw")}
    assert lengths == {
        **{row: [8, 16, 24, 32] for row in expected},
        **{("float vectors", kind): [0] for kind in ("learned", "raw")},
    }


def test_labels_help(results):
    rows = json.loads((results[1] / "embeddings.json").read_text())["results"]
    figures = {(row["method"], row["features"], row["bits"]): row["mean_ap"] for row in rows}
    assert figures["DRQ", "learned", 32] > figures["float vectors", "raw", 0] + 0.1
    assert figures["DRQ", "learned", 16] > figures["PQ", "raw", 16] + 0.1


def test_tables_and_plots_are_saved(results):
    table, out = results
    assert table == (out / "embeddings.md").read_text()
    assert "| DRQ (all lengths at once) | 8,193 | 8,194 | 8,195 | 8,196 |" in table
    for name in ("embeddings", "embeddings-training"):
        assert (out / f"{name}.svg").read_bytes().startswith(b"<?xml")
    assert (out / "embeddings-tsne.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "runs" / "embeddings" / "model.pt").exists()


def test_ablation_has_a_row_for_every_variant(digits, tmp_path):
    done = embeddings(digits, tmp_path, "--ablation", "--epochs", "1,0,1")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "embeddings-ablation.json").read_text())["results"]
    variants = list(dict.fromkeys(row["method"] for row in rows))
    assert variants == [
        "full",
        "no adaptive margin",
        "no triplet",
        "distortion of the whole code only",
        "no joint central",
        "no concatenation",
        "end to end",
        "end to end, distortion x 0.03",
        "DRQ without labels",
    ]
    assert len({row["mean_ap"] for row in rows}) > len(variants)


def cifar10(monkeypatch, name):
    """A task on 60,000 empty images in the order of their classes; pixel 0 numbers them."""
    labels = np.repeat(np.arange(10), 6000)
    pixels = np.arange(60_000, dtype=np.uint32).view(np.uint8).reshape(-1, 4)
    images = tasks.Images(pixels, labels, list("abcdefghij"))
    monkeypatch.setattr(tasks, "read_cifar10", lambda *_: images)
    return tasks.TASKS[name](Namespace(data="x", seed=0, skip_unreadable=False, cut=0, words=None))


def numbers(part):
    return np.ascontiguousarray(part.inputs).view(np.uint32)[:, 0]


def test_setting_1_splits_as_the_paper(monkeypatch):
    task = cifar10(monkeypatch, "cifar10-1")
    assert task.train is task.base
    assert np.bincount(task.base.labels).tolist() == [5000] * 10
    assert np.bincount(task.query.labels).tolist() == [1000] * 10
    assert len(np.union1d(numbers(task.base), numbers(task.query))) == 60_000
    np.testing.assert_array_equal(numbers(task.base) // 6000, task.base.labels)
    assert (task.rank, task.code_bits, task.level_bits, task.levels) == (5000, [16, 24, 36, 48], 4, 12)
    # In random order: equal codes rank by position.
    assert np.abs(np.diff(task.base.labels)).mean() > 2


def test_setting_2_splits_as_the_paper(monkeypatch):
    task = cifar10(monkeypatch, "cifar10-2")
    counts = [np.bincount(part.labels).tolist() for part in (task.train, task.query, task.base)]
    assert counts == [[500] * 10, [100] * 10, [5400] * 10]
    rows = np.concatenate([numbers(part) for part in (task.train, task.query, task.base)])
    assert len(np.unique(rows)) == 60_000
    assert (task.rank, task.code_bits, task.level_bits, task.levels) == (54_000, [8, 16, 24, 32], 8, 4)


def test_too_few_images_are_an_error(monkeypatch):
    few = tasks.Images(np.zeros((10, 1), np.uint8), np.arange(10), list("abcdefghij"))
    monkeypatch.setattr(tasks, "read_cifar10", lambda *_: few)
    with pytest.raises(ValueError, match="images per class, expected 6,000 each"):
        tasks.cifar10_setting1(Namespace(data="x", seed=0, skip_unreadable=False, cut=0, words=None))


def test_data_that_come_as_lists(tmp_path):
    for name, lines in (("database", 3), ("test", 2), ("train", 1)):
        text = "".join(f"{name}{i}.png {i % 2} 1\n" for i in range(lines))
        (tmp_path / f"{name}.txt").write_text(text)
        for i in range(lines):
            Image.new("RGB", (9, 9), (i, i, i)).save(tmp_path / f"{name}{i}.png")
    (tmp_path / "classes.txt").write_text("cat dog\n")
    (tmp_path / "words.txt").write_text("cat 1 0\ndog 0 1\n")
    options = Namespace(
        data=str(tmp_path), size=8, seed=0, run=tmp_path / "run", task="nuswide", skip_unreadable=False, cut=0
    )
    task = tasks.nuswide(Namespace(**vars(options), words=str(tmp_path / "words.txt")))
    assert [len(part) for part in (task.train, task.query, task.base)] == [1, 2, 3]
    assert task.base.inputs.shape == (3, 3, 8, 8)
    assert task.query.labels.shape == (2, 2)
    assert task.word_vectors.tolist() == [[1, 0], [0, 1]]


def test_the_posterior_head_has_a_feature_for_every_class(digits):
    options = train.parse(["embeddings", "--data", str(digits), "--head", "posterior", "--threads", "1"])
    model = train.make_model(tasks.embeddings(options), options, FULL)
    assert (model.d, model.config["head"], model.config["classes"]) == (10, "posterior", 10)


def test_the_pre_trained_backbone_takes_its_options(digits):
    arguments = "--backbone efficientnet-lite0 --input-size 32 --frozen 18 --mirrored --threads 1"
    options = train.parse(["cifar10-2", "--data", "none", *arguments.split()])
    task = tasks.Task("photographs", *3 * [None], 10, [8, 16], 4, 10)
    model = train.make_model(task, options, FULL)
    assert (model.backbone.pixels.size, model.backbone.frozen, model.config["mirrored"]) == (32, 18, True)


def test_an_unknown_peer_is_named(digits, tmp_path):
    done = embeddings(digits, tmp_path, "--peers", "PQ,KNN")
    assert done.returncode == 2
    assert "--peers: ['KNN'], expected some of PQ,OPQ,RQ,LSQ,ITQ" in done.stderr
