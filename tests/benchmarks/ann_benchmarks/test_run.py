"""The ann-benchmarks module, as ann-benchmarks would call it, and the runner without Docker."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import faiss
import h5py
import numpy as np
import pytest
import yaml

from tests.benchmarks.running import run_module
from tests.indexes import make_vectors

pytestmark = pytest.mark.slow  # whole comparisons, in processes of their own

FOLDER = Path(__file__).parents[3] / "benchmarks" / "ann_benchmarks"
D = 16
BASE, X = make_vectors(1500, 0, D), make_vectors(20, 1, D)
SMALL = {"flat": ["DRQ4x4"], "reranked": ["DRQ4x4,RFlat"], "ivf": ["IVF8,DRQ4x4"]}
QUERIES = {"flat": [[2, [2, 300]]], "reranked": [[2, 4], [150]], "ivf": [[4], [1, 8]]}


@pytest.fixture
def files(tmp_path):
    """Return a function that writes a data file and a small configuration."""

    def write(metric):
        base, x = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (BASE, X))
        if metric == "euclidean":
            base, x = BASE, X
        distances, ids = faiss.knn(x, base, 100)
        true = np.sqrt(distances) if metric == "euclidean" else distances / 2
        with h5py.File(tmp_path / f"{metric}.hdf5", "w") as file:
            file.attrs["distance"] = metric
            # Angular data need not be normalised.
            file.update({"train": BASE, "test": X, "neighbors": ids, "distances": true})
        config = yaml.safe_load((FOLDER / "config.yml").read_text())
        algorithm = {**config["float"][metric][0], "run_groups": {}}
        for name in SMALL:
            algorithm["run_groups"][name] = {"args": [SMALL[name]], "query_args": QUERIES[name]}
        (tmp_path / "config.yml").write_text(
            yaml.safe_dump({"float": {metric: [algorithm]}}, sort_keys=False)
        )
        return tmp_path / f"{metric}.hdf5", tmp_path / "config.yml"

    return write


run = partial(run_module, "benchmarks.ann_benchmarks.run")


@pytest.mark.parametrize("metric", ["euclidean", "angular"])
def test_curves(files, tmp_path, metric):
    data, config = files(metric)
    done = run(data, "--config", config, "--runs=1", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / f"{metric}.json").read_text())
    assert [result["group"] for result in results] == ["flat"] * 2 + ["reranked"] * 2 + ["ivf"] * 2
    recalls = [result["recall"] for result in results]
    assert recalls[0] < recalls[1] < recalls[3]
    assert recalls[2:4] == [1, 1]  # all candidates are reranked
    assert recalls[4] < recalls[5]
    for result in results:
        assert result["name"] in done.stdout
        assert result["queries_per_second"] > 0
    assert (tmp_path / "out" / f"{metric}.svg").stat().st_size > 10_000


def test_groups(files, tmp_path):
    data, config = files("euclidean")
    done = run(data, "--config", config, "--runs=1", "--groups=flat", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "euclidean.json").read_text())
    assert {result["group"] for result in results} == {"flat"}
    done = run(data, "--config", config, "--groups=flat,none")
    assert "--groups: got ['none'], expected some of ['flat', 'ivf', 'reranked']" in done.stderr


def test_configuration_is_as_ann_benchmarks_reads_it():
    config = yaml.safe_load((FOLDER / "config.yml").read_text())["float"]
    assert set(config) == {"euclidean", "angular"}
    for algorithms in config.values():
        for algorithm in algorithms:
            assert algorithm["module"] == "ann_benchmarks.algorithms.drqfaiss"
            assert algorithm["docker_tag"] == "ann-benchmarks-drqfaiss"
            assert algorithm["constructor"] == "DRQ"
            assert algorithm["base_args"] == ["@metric"]
            for group in algorithm["run_groups"].values():
                parts = [1 + ("IVF" in text) + ("RFlat" in text) for text in group["args"][0]]
                assert parts == [len(group["query_args"])] * len(parts)


def test_module_in_a_tree_like_ann_benchmarks(tmp_path):
    """Inside a package with ann-benchmarks's folders, as its runner imports it."""
    algorithms = tmp_path / "ann_benchmarks" / "algorithms"
    for folder in (algorithms.parent, algorithms, algorithms / "base", algorithms / "drqfaiss"):
        folder.mkdir()
        (folder / "__init__.py").touch()
    (algorithms / "base" / "module.py").write_text(
        "class BaseANN:\n    def __str__(self): return self.name\n"
    )
    (algorithms / "drqfaiss" / "module.py").write_bytes((FOLDER / "module.py").read_bytes())
    code = """
import numpy as np
from ann_benchmarks.algorithms.drqfaiss.module import DRQ
x = np.random.default_rng(0).normal(size=(600, 8))
algorithm = DRQ("angular", "DRQ4x4,RFlat")
algorithm.fit(x)
algorithm.set_query_arguments(4, 50)
algorithm.batch_query(x[:5], 3)
assert (algorithm.res[:, 0] == np.arange(5)).all()
assert algorithm.query(x[7], 3)[0] == 7
assert str(algorithm) == "DRQ(DRQ4x4,RFlat, 4, 50)"
try:
    algorithm.set_query_arguments(4, 50, 7)
except ValueError as error:
    assert "1 too many" in str(error)
"""
    env = {"PYTHONPATH": f"{tmp_path}:{FOLDER.parents[1]}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
