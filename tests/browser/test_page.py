"""The page of the service in Chromium, driven over its own protocol: make test-browser."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from drqfaiss.distributed import ShardedIndex
from tests.distributed.shards import N, make_shards
from tests.serving.service import serving

SECONDS = 30


class Browser:
    """A page of a Chromium without a window."""

    def __init__(self, socket):
        self._socket, self._asked = socket, 0

    def ask(self, method, **parameters):
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv(timeout=SECONDS))).get("id") != self._asked:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def value(self, script):
        result = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script):
        """Wait until a script's value is true; return it."""
        end = time.monotonic() + SECONDS
        while not (value := self.value(script)):
            assert time.monotonic() < end, (script, self.value("document.body.innerText"))
            time.sleep(0.05)
        return value


@pytest.fixture
def browser():
    program = shutil.which("chromium")
    assert program, "chromium is missing: apt install chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            [*command, "--remote-debugging-port=0", "about:blank"], stderr=subprocess.DEVNULL
        )
        try:
            port = port_in(Path(profile) / "DevToolsActivePort")
            pages = httpx.get(f"http://127.0.0.1:{port}/json", timeout=SECONDS).json()
            address = next(page for page in pages if page["type"] == "page")["webSocketDebuggerUrl"]
            with connect(address, max_size=None) as socket:
                yield Browser(socket)
        finally:
            process.terminate()
            process.wait()


def port_in(path):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, IndexError):
            return int(path.read_text().splitlines()[0])
        time.sleep(0.05)
    raise AssertionError("chromium does not start")


def test_the_page_shows_the_state_and_searches(browser, tmp_path):
    with ShardedIndex.open(make_shards(tmp_path / "s"), ray=False) as index, serving(index) as client:
        browser.ask("Page.navigate", url=str(client.base_url))
        browser.wait(f"document.body?.innerText.includes('{N}')")
        assert browser.value("document.getElementById('status').textContent") == "Status: ok"
        assert browser.value("document.getElementById('state').innerText").count("shard-0000") == 3
        browser.value("document.getElementById('random').click()")
        browser.value("document.getElementById('search').requestSubmit()")
        told = browser.wait("document.getElementById('told').textContent")
        assert told.startswith("10 found in ")
        assert browser.value("document.querySelectorAll('#found tr').length") == 10
        typed = browser.value("document.getElementById('query').value")
        query = [[float(number) for number in typed.split()]]
        ids = browser.value("[...document.querySelectorAll('#found tr')].map(row => row.cells[1].innerText)")
        assert [int(name) for name in ids] == index.search(query, 10).ids[0].tolist()
        browser.value("document.getElementById('query').value = '1 2 3'")
        browser.value("document.getElementById('search').requestSubmit()")
        assert "expected (n, 16)" in browser.wait("document.querySelector('#told.error')?.textContent")


def test_the_page_asks_for_the_token(browser, tmp_path):
    folder = make_shards(tmp_path / "s")
    with ShardedIndex.open(folder, ray=False) as index, serving(index, token="secret") as client:
        browser.ask("Page.navigate", url=str(client.base_url))
        assert "401" in browser.wait("document.querySelector('#status.error')?.textContent")
        browser.value("document.getElementById('token').value = 'secret'")
        browser.value("document.getElementById('refresh').click()")
        browser.wait(f"document.body.innerText.includes('{N}')")


def test_the_description_is_drawn_without_the_internet(browser, tmp_path):
    with ShardedIndex.open(make_shards(tmp_path / "s"), ray=False) as index, serving(index) as client:
        browser.ask("Page.navigate", url=f"{client.base_url}/docs")
        assert browser.wait("document.body?.innerText.includes('/search')")
