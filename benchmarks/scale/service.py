"""Requests of many clients to ``drqfaiss serve``, good and bad ones, in a process of its own."""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import drqfaiss
from drqfaiss.datasets import Dataset

K = 10
GOOD = 0.8  # Share of the requests.
PARTS = 10  # Memory is looked at after each.
JSON, NPY = {"content-type": "application/json"}, {"content-type": "application/x-npy"}


def requests(
    folder: Path, trained: drqfaiss.IndexDRQ, data: Dataset, options: argparse.Namespace
) -> dict[str, Any]:
    """Send requests and return what came back, how long it took, and the memory of the service."""
    command = [sys.executable, "-m", "drqfaiss", "serve", str(folder), "--port", "0", "--max-k", "100"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stderr.readline()  # type: ignore[union-attr]
        address = line.split()[-1]
        memory, seconds, wrong = [], list[float](), Counter[str]()
        for part in range(PARTS):
            shares = cut(options.requests // PARTS, options.clients)
            clients = [
                threading.Thread(target=ask, args=(address, share, data, (part, i), seconds, wrong))
                for i, share in enumerate(shares)
            ]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            memory.append(resident(server.pid))
        statuses = counted(httpx.get(f"{address}/metrics").text)
    finally:
        server.terminate()
        server.wait()
    return {
        "requests": sum(statuses.values()),
        "clients": options.clients,
        "statuses": statuses,
        "wrong answers": dict(wrong),
        "good requests, ms": [round(1e3 * float(np.percentile(seconds, p)), 2) for p in (50, 99, 100)],
        "resident MiB after each tenth": memory,
        "exit status": server.returncode,
    }


def cut(count: int, parts: int) -> list[int]:
    """Return about equal shares of a number."""
    return [(count * (i + 1)) // parts - (count * i) // parts for i in range(parts)]


def ask(
    address: str,
    count: int,
    data: Dataset,
    seed: tuple[int, int],
    seconds: list[float],
    wrong: Counter[str],
) -> None:
    """Send requests one after the other; note times, and what is not answered as it should be."""
    rng = random.Random(f"{seed}")
    with httpx.Client(base_url=address, timeout=60) as client:
        for _ in range(count):
            if rng.random() < GOOD:
                content, headers, path = good(rng, data)
                began = time.perf_counter()
                answer = client.post(path, content=content, headers=headers)
                seconds.append(time.perf_counter() - began)
                if answer.status_code != 200 or len(answer.json()["ids"][0]) != K:
                    wrong[f"good: {answer.status_code}"] += 1
            else:
                content, headers, path = rng.choice(bad(data))
                answer = client.post(path, content=content, headers=headers)
                if not 400 <= answer.status_code < 500:
                    wrong[f"bad: {answer.status_code}"] += 1


def good(rng: random.Random, data: Dataset) -> tuple[bytes, dict[str, str], str]:
    """Return a search that has to be answered."""
    query = data.query[rng.randrange(len(data.query))][None]
    if rng.random() < 0.5:
        return json.dumps({"queries": query.tolist(), "k": K}).encode(), JSON, "/search"
    return npy(query), NPY, f"/search?k={K}"


def bad(data: Dataset) -> list[tuple[bytes, dict[str, str], str]]:
    """Return searches that have to be refused."""
    query = data.query[:1]
    row = query.tolist()
    return [
        (b"{", JSON, "/search"),
        (json.dumps({"queries": row, "k": 101}).encode(), JSON, "/search"),
        (json.dumps({"queries": [row[0][:-1]]}).encode(), JSON, "/search"),
        (json.dumps({"queries": row, "levels": 99}).encode(), JSON, "/search"),
        (json.dumps({"queries": [[float("nan")] * data.d]}).encode(), JSON, "/search"),
        (npy(query)[:-3], NPY, "/search"),
        (npy(np.full_like(query, np.inf)), NPY, "/search"),
        (b"x", {"content-type": "text/plain"}, "/search"),
        (b"{}", JSON, "/find"),
    ]


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def counted(metrics: str) -> dict[str, int]:
    """Return how many requests to /search or nowhere had which status."""
    counts: Counter[str] = Counter()
    pattern = r'drqfaiss_requests_total\{path="(?:/search|other)",status="(\d+)"\} (\S+)'
    for status, count in re.findall(pattern, metrics):
        counts[status] += int(float(count))
    return dict(sorted(counts.items()))


def resident(process: int) -> int:
    """Return the MiB of a process that are in memory."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]
