"""The service in front of actors of a Ray of its own."""

import httpx

from tests.cli.test_serve import QUERIES, start
from tests.distributed.shards import make_shards, make_whole
from tests.indexes import make_vectors


def test_actors_answer_over_http(tmp_path):
    folder = make_shards(tmp_path / "s")
    process, address = start(folder, "--ray", "local", "--replicas", 2, RAY_ADDRESS="local")
    with process:
        found = httpx.post(f"{address}/search", json=QUERIES, timeout=30).json()
        refused = httpx.post(f"{address}/search", json={**QUERIES, "levels": 9}, timeout=30)
        process.terminate()
        process.communicate(timeout=60)
    assert found["ids"] == make_whole().search(make_vectors(2, seed=1), 3)[1].tolist()
    assert (refused.status_code, process.returncode) == (422, 0)
