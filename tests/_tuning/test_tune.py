"""From a recall to a setting."""

import json

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss._indexes.settings import Setting
from drqfaiss._tuning import measuring
from drqfaiss._tuning.space import Space
from drqfaiss.evaluation import exact_neighbours, intersection_at
from tests.indexes import D, make_codebooks, make_index, make_vectors

N, K = 1500, 10


def vectors(n, seed):
    """Vectors with structure, which short codes say something about."""
    return make_vectors(n, seed) @ np.diag(1 / np.arange(1, D + 1)).astype(np.float32)


BASE, QUERIES = vectors(N, 0), vectors(600, 1)
TRUTH = exact_neighbours(BASE, QUERIES, 20)


@pytest.fixture(scope="module")
def index():
    made = drqfaiss.IndexDRQ(D, 8, 4, iterations=4, progress=False)
    made.train(BASE)
    made.add(BASE)
    return made


@pytest.fixture
def costs(monkeypatch):
    """Time is what a search looks at, so that nothing depends on this machine."""

    def cost(setting):
        levels, ranked, factor = (
            (setting.levels or 8),
            (setting.refine_levels or 8),
            setting.refine_factor or 0,
        )
        return (
            N * levels * (setting.nprobe or 8) / 8 + K * factor * ranked * 3 + 100 * (setting.k_factor or 0)
        )

    searches = []
    measure = measuring.Measuring._measure

    def measured(self, setting):
        searches.append(setting)
        return measure(self, setting)._replace(us=cost(setting))

    monkeypatch.setattr(measuring.Measuring, "_measure", measured)
    monkeypatch.setattr(
        measuring.Measuring, "compare", lambda self, settings, rounds: {s: cost(s) for s in settings}
    )
    return cost, searches


def recall_of(index, setting, queries=QUERIES, truth=TRUTH):
    setting.apply(index)
    found = intersection_at(index.search(queries, K)[1], truth, K)
    Setting(0, 0, 0).apply(index)
    return found


@pytest.mark.parametrize("recall", [0.3, 0.5, 0.6])
def test_the_setting_is_the_cheapest_that_holds(index, costs, recall):
    cost, searches = costs
    tuned = drqfaiss.tune(index, QUERIES, recall=recall, neighbours=TRUTH, progress=False)
    assert tuned.reached
    assert recall <= tuned.low < tuned.recall < tuned.high
    assert (tuned.k, tuned.asked, tuned.queries, tuned.against) == (K, recall, 400, "the neighbours given")
    assert recall_of(index, tuned.setting) >= recall
    everything = Space(index, K).settings
    holds = [s for s in everything if recall_of(index, s) >= tuned.low + (tuned.recall - tuned.low) * 1.5]
    assert tuned.us_per_query == cost(tuned.setting) <= min(map(cost, holds))
    assert len(searches) < len(everything)


def test_the_front_is_sorted_and_nothing_in_it_is_beaten(index, costs):
    tuned = drqfaiss.tune(index, QUERIES, recall=0.5, neighbours=TRUTH, progress=False)
    times = [point.us_per_query for point in tuned.front]
    recalls = [point.recall for point in tuned.front if point.setting != tuned.setting]
    assert times == sorted(times)
    assert recalls == sorted(recalls)
    assert tuned.setting in [point.setting for point in tuned.front]
    lines = repr(tuned).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("*") for line in lines) == 1


def test_an_unreachable_recall_is_said_with_the_best_there_is(index, costs):
    tuned = drqfaiss.tune(index, QUERIES, recall=0.98, neighbours=TRUTH, progress=False)
    assert not tuned.reached
    assert tuned.recall >= recall_of(index, Setting(8, 0, 0)) - 0.03
    assert "The recall asked for, 0.98, is out of reach: this is the best." in repr(tuned)


def test_a_limit_of_time_gives_the_best_within_it(index, costs):
    cost, _ = costs
    limit = cost(Setting(2, 0, 0))
    tuned = drqfaiss.tune(index, QUERIES, recall=0.7, neighbours=TRUTH, max_us=limit, progress=False)
    assert not tuned.reached
    assert tuned.us_per_query <= limit
    assert "out of reach within 3000 µs" in repr(tuned)
    affordable = [s for s in Space(index, K).settings if cost(s) <= limit]
    best = max(recall_of(index, setting) for setting in affordable)
    assert recall_of(index, tuned.setting) >= best - 0.02
    enough = drqfaiss.tune(index, QUERIES, recall=0.2, neighbours=TRUTH, max_us=limit, progress=False)
    assert enough.reached
    none = drqfaiss.tune(index, QUERIES, recall=0.3, neighbours=TRUTH, max_us=1, progress=False)
    assert not none.reached
    assert none.us_per_query == min(point.us_per_query for point in none.front)


def test_neighbours_are_found_in_the_base_or_estimated(index, costs):
    given = drqfaiss.tune(index, QUERIES, recall=0.5, neighbours=TRUTH, progress=False)
    found = drqfaiss.tune(index, QUERIES, recall=0.5, base=BASE, progress=False)
    assert (found.setting, found.recall) == (given.setting, given.recall)
    assert found.against == "the base vectors"
    own = drqfaiss.tune(index, QUERIES, recall=0.8, progress=False)
    assert own.reached
    assert own.against.startswith("an estimate: what the most thorough search of this index finds")
    assert own.recall > found.recall
    assert "against an estimate" in repr(own)


def test_the_index_stays_as_it_is_until_a_setting_is_applied(index, costs):
    threads = faiss.omp_get_max_threads()
    index.levels, index.refine_factor = 3, 7
    tuned = drqfaiss.tune(index, QUERIES, recall=0.5, neighbours=TRUTH, progress=False)
    assert (index.levels, index.refine_levels, index.refine_factor) == (3, 0, 7)
    assert faiss.omp_get_max_threads() == threads
    tuned.apply(index)
    depth = (index.levels, index.refine_levels, index.refine_factor or 0)
    assert depth == (tuned.setting.levels, tuned.setting.refine_levels, tuned.setting.refine_factor)
    Setting(0, 0, 0).apply(index)


@pytest.mark.parametrize("description", ["IVF8,DRQ4x4", "IDMap2,DRQ4x4", "PCA8,DRQ4x4", "DRQ4x4,RFlat"])
def test_indexes_inside_others_and_lists_are_tuned(description, costs):
    index = drqfaiss.index_factory(D, description, iterations=2, progress=False)
    index.train(BASE)
    ids = np.arange(N) * 3 if "IDMap" in description else np.arange(N)
    index.add_with_ids(BASE, ids) if "IDMap" in description else index.add(BASE)
    truth = ids[TRUTH]
    recall = 0.95 if "RFlat" in description else 0.2
    by_ids, by_base = (
        drqfaiss.tune(index, QUERIES, recall=recall, progress=False, **given)
        for given in ({"neighbours": truth}, {"base": BASE})
    )
    assert by_ids.reached
    assert (by_ids.setting, by_ids.recall) == (by_base.setting, by_base.recall)
    by_ids.apply(index)
    assert intersection_at(index.search(QUERIES, K)[1], truth, K) >= recall
    assert (by_ids.setting.nprobe is None) == ("IVF" not in description)
    assert (by_ids.setting.k_factor is None) == ("RFlat" not in description)


def test_levels_on_disk_are_for_ranking(index, costs, tmp_path):
    drqfaiss.split_tail(index, 3, tmp_path / "x.faiss")
    split = drqfaiss.read_index(tmp_path / "x.faiss")
    tuned = drqfaiss.tune(split, QUERIES, recall=0.5, neighbours=TRUTH, progress=False)
    assert tuned.reached
    assert tuned.setting.levels <= 3
    assert tuned.setting.refine_factor > 1
    assert recall_of(index, tuned.setting) == pytest.approx(tuned.recall, abs=0.05)


def test_settings_are_kept_beside_a_file(index, costs, tmp_path):
    tuned = drqfaiss.tune(index, QUERIES, recall=0.5, neighbours=TRUTH, progress=False)
    path = tmp_path / "index.faiss"
    drqfaiss.write_index(index, path)
    assert tuned.save(path) == tmp_path / "index.drq.json"
    back = drqfaiss.read_index(path, tuned=True)
    assert (back.levels, back.refine_factor or 0) == (tuned.setting.levels, tuned.setting.refine_factor)
    assert drqfaiss.read_index(path).levels == 0
    record = json.loads((tmp_path / "index.drq.json").read_text())
    assert record["recall"] == tuned.recall
    assert len(record["front"]) == len(tuned.front)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "index.drq.json: not a file of settings, or damaged"),
        (b"[]", "index.drq.json: not a file of settings, or damaged"),
        (b'{"format": 1, "index": {}, "setting": {"depth": 1}}', "not a file of settings, or damaged"),
        (b'{"format": 9, "index": {}, "setting": {}}', "index.drq.json: got format 9, expected 1"),
        (
            b'{"format": 1, "index": {"d": 3}, "setting": {}}',
            r"got a setting for \{'d': 3\}, expected one for",
        ),
        (
            b'{"format": 1, "index": {"d": 16, "metric": "l2", "levels": [5], "lists": []},'
            b' "setting": {"levels": 6}}',
            r"index.drq.json: levels: got 6, expected 0 \(all\) to 5",
        ),
    ],
)
def test_damaged_settings_are_refused(content, message, tmp_path):
    path = tmp_path / "index.faiss"
    drqfaiss.write_index(make_index(), path)
    (tmp_path / "index.drq.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        drqfaiss.read_index(path, tuned=True)


def test_settings_that_are_missing_are_said(tmp_path):
    drqfaiss.write_index(make_index(), tmp_path / "x.faiss")
    with pytest.raises(FileNotFoundError, match=r"x\.drq\.json"):
        drqfaiss.read_index(tmp_path / "x.faiss", tuned=True)
    with pytest.raises(TypeError, match="tuned: got it with b'', expected the name of a file"):
        drqfaiss.read_index(b"", tuned=True)


def index_of(**shape):
    made = drqfaiss.IndexDRQ.from_codebooks(make_codebooks())
    made.add(make_vectors(shape.pop("n", 300)))
    return made


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"recall": 0}, ValueError, "recall: got 0, expected a share above 0"),
        ({"recall": 1}, ValueError, "recall: got 1, expected a share above 0 and below 1"),
        ({"recall": "much"}, TypeError, "recall: got 'much', expected a number"),
        ({"k": 0}, ValueError, "k: got 0, expected"),
        ({"k": N + 1}, ValueError, "k: got 1501, expected 1 to 1500"),
        ({"k": 21}, ValueError, "k: got 21, expected at most 20, the neighbours of each query"),
        ({"threads": 0}, ValueError, "threads: got 0, expected at least 1"),
        ({"single": 1}, TypeError, "single: got 1, expected True or False"),
        ({"max_us": 0}, ValueError, "max_us: got 0, expected more than 0"),
        (
            {"queries": QUERIES[:100], "neighbours": TRUTH[:100]},
            ValueError,
            "queries: got 100, expected at least 110: fewer",
        ),
        ({"queries": QUERIES[:, :5]}, ValueError, r"queries: got shape \(600, 5\), expected \(n, 16\)"),
        ({"queries": QUERIES * np.nan}, ValueError, "queries: got 9600 values that are NaN"),
        ({"base": BASE}, TypeError, "neighbours: got them and base, expected one of them"),
        ({"neighbours": None, "base": BASE[:9]}, ValueError, "base: got 9 vectors, expected the 1500"),
        (
            {"neighbours": None, "base": BASE[::-1]},
            ValueError,
            "base: got neighbours of which the index finds",
        ),
        ({"neighbours": TRUTH[:9]}, ValueError, "neighbours: got 9 rows, expected 600, one per query"),
        ({"neighbours": TRUTH + N}, ValueError, r"neighbours: got id \d+, expected ids of the 1500 vectors"),
        ({"neighbours": N - 1 - TRUTH}, ValueError, "neighbours: got neighbours of which the index finds"),
        ({"neighbours": np.where(np.arange(20) > 4, -1, TRUTH)}, ValueError, "neighbours: got fewer than 10"),
        ({"neighbours": TRUTH * 1.0}, TypeError, "neighbours: got float64, expected integers"),
        (
            {"index": faiss.IndexFlatL2(D)},
            ValueError,
            "index: got IndexFlatL2, expected an index with levels",
        ),
        ({"index": "x.faiss"}, TypeError, "index: got 'x.faiss', expected a faiss.Index"),
        ({"index": drqfaiss.IndexDRQ(D, 2, 4)}, RuntimeError, "the index is not trained"),
        ({"index": index_of(n=0)}, RuntimeError, "the index is empty, expected add"),
    ],
)
def test_bad_arguments_are_refused_before_any_setting_is_tried(index, changes, error, message, monkeypatch):
    monkeypatch.setattr(measuring.Measuring, "_measure", None)
    arguments = {"index": index, "queries": QUERIES, "neighbours": TRUTH, "progress": False, **changes}
    with pytest.raises(error, match=message):
        drqfaiss.tune(arguments.pop("index"), arguments.pop("queries"), **arguments)
    assert (index.levels, index.refine_factor) == (0, None)


def test_times_are_measured(index):
    tuned = drqfaiss.tune(index, QUERIES, recall=0.4, neighbours=TRUTH, progress=False)
    assert all(0 < point.us_per_query < 1e6 for point in tuned.front)
    assert (tuned.threads, tuned.single) == (1, False)


def test_queries_may_come_one_at_a_time(index):
    tuned = drqfaiss.tune(index, QUERIES, recall=0.4, neighbours=TRUTH, single=True, progress=False)
    assert tuned.single
    assert "µs a single query" in repr(tuned)
    assert max(map(len, repr(tuned).splitlines())) <= 80
