"""The service, over real connections."""

import io
import json
import threading

import numpy as np
import pytest

from drqfaiss.distributed import MissingShardsError, ShardedIndex
from tests.distributed.shards import N, make_shards, make_whole
from tests.indexes import make_vectors
from tests.serving.service import serving

QUERIES = make_vectors(4, seed=1)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    with ShardedIndex.open(make_shards(tmp_path_factory.mktemp("served") / "s"), ray=False) as index:
        yield index


@pytest.fixture(scope="module")
def client(index):
    with serving(index, body=100_000, k=100, results=1_000, levels=4, refine_factor=50) as client:
        yield client


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def post(client, body, kind="application/json", **options):
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post("/search", content=content, headers={"content-type": kind}, **options)


def test_json_finds_what_the_index_finds(client, index):
    for settings in ({}, {"levels": 2}, {"levels": 1, "refine_factor": 5}, {"only": [*range(0, N, 3)]}):
        answer = post(client, {"queries": QUERIES.tolist(), "k": 5, **settings})
        assert answer.status_code == 200
        D, ids = index.search(QUERIES, 5, **settings)
        assert answer.json()["ids"] == ids.tolist()
        np.testing.assert_array_equal(np.float32(answer.json()["distances"]), D)
        assert answer.json()["missing"] == []


def test_arrays_find_what_the_index_finds(client, index):
    D, ids = index.search(QUERIES, 7, levels=2)
    for array in (QUERIES, QUERIES.astype(np.float64), np.asfortranarray(QUERIES)):
        answer = client.post(
            "/search?k=7&levels=2",
            content=npy(array),
            headers={"content-type": "application/x-npy", "accept": "application/x-npz"},
        )
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-npz"
        found = np.load(io.BytesIO(answer.content))
        np.testing.assert_array_equal(found["ids"], ids)
        np.testing.assert_array_equal(found["distances"], D)


def test_rows_with_fewer_vectors_are_shorter(client):
    answer = post(client, {"queries": QUERIES.tolist(), "k": 5, "only": [3, 4]})
    assert [sorted(row) for row in answer.json()["ids"]] == [[3, 4]] * 4
    assert post(client, {"queries": []}).status_code == 422


NAN = npy(np.full((1, 16), np.nan, np.float32))
HUGE = npy(QUERIES).replace(b"(4, 16)", b"(9999999, 16)")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("", "body: "),
        ("{", "body: Invalid JSON"),
        ("[]", "body: "),
        ("[" * 90_000, "body: "),
        ({"k": 3}, "queries: Field required"),
        ({"queries": [[1.0] * 16], "k": "3"}, "k: Input should be a valid integer"),
        ({"queries": [[1.0] * 16], "k": 0}, "k: Input should be greater than or equal to 1"),
        ({"queries": [[1.0] * 16], "k": 101}, "k: got 101, expected at most 100"),
        ({"queries": [[1.0] * 16] * 11, "k": 100}, "queries: got 11 of 100 neighbours, expected 1000 in all"),
        ({"queries": [[1.0] * 16], "levels": 5}, "levels: got 5, expected at most 4"),
        ({"queries": [[1.0] * 16], "levels": 0}, "levels: got 0, expected at most 4"),
        ({"queries": [[1.0] * 16], "refine_factor": 51}, "refine_factor: got 51, expected at most 50"),
        (
            {"queries": [[1.0] * 16], "nprobe": 2},
            "nprobe: got IndexDRQ, expected an index with",
        ),
        ({"queries": [[1.0] * 16], "levle": 2}, "levle: Extra inputs are not permitted"),
        ({"queries": [[1.0] * 15]}, "x: got shape (1, 15), expected (n, 16)"),
        ({"queries": [[1.0] * 16, [1.0]]}, "queries: got rows of different lengths"),
        ({"queries": [["1"] * 16]}, "queries.0.0: Input should be a valid number"),
        ({"queries": [[1e39] * 16]}, "x: got 16 values that are NaN or infinite"),
        ('{"queries": [[NaN' + ", 1" * 15 + "]]}", "x: got 1 values that are NaN"),
        ({"queries": [[1.0] * 16], "only": [2**70]}, "only"),
        ({"queries": [[1.0] * 16], "only": [0.5]}, "only.0: Input should be a valid integer"),
    ],
)
def test_wrong_searches_are_refused_by_name(body, told, client):
    answer = post(client, body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(told)
    assert len(answer.json()["detail"]) < 500


@pytest.mark.parametrize(
    ("body", "query", "told"),
    [
        (b"", "", "body: no .npy array"),
        (npy(QUERIES)[:100], "", "body: "),
        (npy(QUERIES)[:-1], "", "body: got shape (4, 16) of float32 in 255 bytes"),
        (npy(QUERIES) + b"1", "", "body: got shape (4, 16) of float32 in 257 bytes"),
        (HUGE, "", "body: got shape (9999999, 16)"),
        (npy(QUERIES[0]), "", "body: got shape (16,)"),
        (npy(np.array([["a"]])), "", "body: no .npy array: got an array of <U1"),
        (NAN, "", "x: got 16 values that are NaN"),
        (npy(QUERIES), "?k=no", "k: Input should be a valid integer"),
        (npy(QUERIES), "?size=3", "size: Extra inputs are not permitted"),
    ],
)
def test_wrong_arrays_are_refused_by_name(body, query, told, client):
    answer = client.post("/search" + query, content=body, headers={"content-type": "application/x-npy"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(told)


def test_other_bodies_and_paths_are_refused(client):
    assert post(client, "{}", "text/plain").status_code == 415
    assert post(client, b" " * 100_001).status_code == 413
    pieces = (b" " * 1_000 for _ in range(200))  # It does not say how long it is.
    assert (
        client.post("/search", content=pieces, headers={"content-type": "application/json"}).status_code
        == 413
    )
    assert client.get("/search").status_code == 405
    assert client.get("/none").status_code == 404
    assert client.get("/health").json() == {"status": "ok"}


def test_the_state_is_told(client, index):
    state = client.get("/state").json()
    assert (state["d"], state["metric"], state["vectors"]) == (16, "l2", N)
    assert state["shards"] == index.shards
    assert state["limits"]["k"] == 100


def test_requests_are_counted(index):
    with serving(index, k=10) as client:
        for _ in range(3):
            post(client, {"queries": QUERIES.tolist(), "k": 2})
        post(client, {"queries": QUERIES.tolist(), "k": 11})
        client.get("/nowhere")
        figures = client.get("/metrics").text
    assert 'drqfaiss_requests_total{path="/search",status="200"} 3.0' in figures
    assert 'drqfaiss_requests_total{path="/search",status="422"} 1.0' in figures
    assert 'drqfaiss_requests_total{path="other",status="404"} 1.0' in figures
    assert "drqfaiss_queries_total 12.0" in figures
    assert "drqfaiss_search_seconds_count 4.0" in figures
    assert f"drqfaiss_vectors {N:.1f}" in figures


def test_the_description_is_whole_and_the_pages_load_nothing_from_elsewhere(client):
    described = client.get("/openapi.json").json()
    assert {"/search", "/health", "/state", "/metrics"} <= set(described["paths"])
    search = described["paths"]["/search"]["post"]
    assert set(search["requestBody"]["content"]) == {"application/json", "application/x-npy"}
    assert {parameter["name"] for parameter in search["parameters"]} == {
        *("k", "levels", "refine_levels", "refine_factor", "nprobe")
    }
    for path in ("/", "/docs"):
        page = client.get(path)
        assert page.status_code == 200
        assert "://" not in page.text.replace(str(client.base_url), "").replace("http://www.w3.org", "")
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]


def test_a_token_is_asked_for(index):
    with serving(index, token="secret-é".encode().hex()) as client:
        assert client.get("/health").status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic c2VjcmV0"}):
            for path in ("/state", "/metrics"):
                answer = client.get(path, headers=headers)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert post(client, {"queries": QUERIES.tolist()}).status_code == 401
        client.headers["Authorization"] = f"Bearer {'secret-é'.encode().hex()}"
        assert client.get("/state").status_code == 200
        assert post(client, {"queries": QUERIES.tolist()}).status_code == 200


class Slow:
    """An index that answers when it is told to."""

    d, metric_type, ntotal, missing, shards = 16, 1, 0, {}, {}

    def __init__(self):
        self.go, self.begun = threading.Event(), threading.Semaphore(0)

    def search(self, x, k, **settings):
        self.begun.release()
        assert self.go.wait(60)
        raise MissingShardsError({"shard-1": "its actor is lost"})


def test_what_takes_too_long_or_is_missing_is_told():
    slow = Slow()
    with serving(slow, seconds=0.2) as client:
        answer = post(client, {"queries": QUERIES.tolist()})
        assert answer.status_code == 504
        slow.go.set()
    with serving(slow) as client:
        answer = post(client, {"queries": QUERIES.tolist()})
        assert answer.status_code == 503
        assert "shard-1: its actor is lost" in answer.json()["detail"]
        assert client.get("/health").status_code == 200


def test_too_many_at_a_time_are_refused():
    slow = Slow()
    with serving(slow, waiting=1) as client:
        first = threading.Thread(target=post, args=(client, {"queries": QUERIES.tolist()}))
        first.start()
        slow.begun.acquire()
        answer = post(client, {"queries": QUERIES.tolist()})
        slow.go.set()
        first.join()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_answers_without_shards_name_them(tmp_path):
    folder = make_shards(tmp_path / "s")
    (folder / "shard-00001.faiss").unlink()
    with ShardedIndex.open(folder, ray=False, partial=True) as index, serving(index) as client:
        assert client.get("/health").json() == {"status": "partial"}
        answer = post(client, {"queries": QUERIES.tolist()})
        assert answer.json()["missing"] == [str(folder / "shard-00001.faiss")]
        assert "drqfaiss_missing_shards 1.0" in client.get("/metrics").text


def test_many_clients_get_their_own_answers(client):
    whole, wrong = make_whole(), []

    def ask(seed):
        for i in range(20):
            queries = make_vectors(2, seed=100 * seed + i)
            answer = post(client, {"queries": queries.tolist(), "k": 3})
            if answer.status_code != 200 or answer.json()["ids"] != whole.search(queries, 3)[1].tolist():
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
