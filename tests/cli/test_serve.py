import os
import signal
import subprocess
import sys

import httpx
import pytest

import drqfaiss
from drqfaiss.cli import options
from drqfaiss.serving import Limits, _run
from tests.distributed.shards import make_shards
from tests.indexes import make_vectors

QUERIES = {"queries": make_vectors(2, seed=1).tolist(), "k": 3}


def start(*arguments, **environment):
    """Start the command; return its process, and where it serves."""
    command = [sys.executable, "-m", "drqfaiss", "serve", *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    said = []
    for line in process.stderr:  # Ray has something to say first.
        said.append(line)
        if line.startswith("drqfaiss: serving at http://127.0.0.1:"):
            return process, line.split()[-1]
    raise AssertionError("".join(said))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_file_is_served_until_a_signal(number, files):
    process, address = start(files / "filled.faiss", "--json", "--max-k", 5)
    with process:
        found = httpx.post(f"{address}/search", json=QUERIES)
        assert httpx.post(f"{address}/search", json={**QUERIES, "k": 6}).status_code == 422
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    expected = drqfaiss.read_index(files / "filled.faiss").search(make_vectors(2, seed=1), 3)[1]
    assert found.json()["ids"] == expected.tolist()
    assert (process.returncode, err) == (0, "")
    assert '"vectors": 600' in out


@pytest.mark.slow
def test_a_folder_is_served_to_those_with_the_token(tmp_path):
    folder = make_shards(tmp_path / "s")
    process, address = start(folder, DRQFAISS_TOKEN="of-the-environment")
    with process:
        assert httpx.post(f"{address}/search", json=QUERIES).status_code == 401
        headers = {"Authorization": "Bearer of-the-environment"}
        assert httpx.post(f"{address}/search", json=QUERIES, headers=headers).status_code == 200
        process.terminate()


def test_what_cannot_be_served_is_told(files, fails, tmp_path):
    assert "none.faiss" in fails("serve", tmp_path / "none.faiss")
    assert "manifest.json" in fails("serve", tmp_path)
    (tmp_path / "token").write_text("two words")
    assert "expected a token" in fails("serve", files / "filled.faiss", "--token-file", tmp_path / "token")
    assert "--replicas: got 2, expected 1 without Ray" in fails(
        "serve", files / "filled.faiss", "--replicas", 2
    )
    assert "seconds: got 0.0, expected a finite number above 0" in fails(
        "serve", files / "filled.faiss", "--max-seconds", 0
    )


def test_a_port_that_is_taken_is_told(files, fails):
    with _run.socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "in use" in fails("serve", files / "filled.faiss", "--port", port)


def test_limits_are_those_of_the_service():
    offered, limits = options.Serve(), Limits()
    assert vars(limits) == {name: getattr(offered, f"max_{name}") for name in vars(limits)}


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_loopback_is_known(host, loopback):
    assert _run.is_loopback(host) == loopback
