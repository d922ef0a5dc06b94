"""What is measured with Ray: searches in actors, builds, merges, and losses."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
import ray
from ray.cluster_utils import Cluster

import drqfaiss
from drqfaiss.datasets import Dataset
from drqfaiss.distributed import Manifest, ShardedIndex, build_shards, merge_shards

K = 10
STORE = 300 * 2**20  # Bytes of shared memory of a machine.
NODES = 2
KILLED_DURING = 1_000


@contextmanager
def cluster(cpus: int = 1) -> Iterator[tuple[Any, list[Any]]]:
    """Start a head, where this process is, and machines for the shards; end all of them."""
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    machines = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [machines.add_node(num_cpus=cpus, object_store_memory=STORE) for _ in range(NODES)]
        ray.init(address=machines.address, log_to_driver=False)
        machines.wait_for_nodes()
        yield machines, nodes
    finally:
        ray.shutdown()
        machines.shutdown()


def overhead(
    folder: Path, trained: drqfaiss.IndexDRQ, data: Dataset, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Compare searches in actors with those in this process, on as many threads as there are shards."""
    queries = np.ascontiguousarray(np.resize(data.query, (options.batch, data.d)))
    rows = []
    with cluster():
        for shards in options.shards:
            place = part_of(folder, shards)
            faiss.omp_set_num_threads(shards)
            with ShardedIndex.open(place, ray=False) as local, ShardedIndex.open(place) as actors:
                np.testing.assert_array_equal(actors.search(queries, K), local.search(queries, K))
                processes = [os.getpid(), *pids(actors)]
                for name, asked in (("batch", [queries]), ("single", singles(queries, options.single))):
                    runs = options.runs if name == "batch" else 1
                    here, there = in_turns([local, actors], asked, runs, processes)
                    rows.append(
                        {"shards": shards, "per shard": options.per_shard, "queries": name}
                        | compared(here, there)
                    )
    return rows


def pids(index: ShardedIndex) -> list[int]:
    """Return the processes of the actors."""
    actors = [actor for group in index._shards._groups for actor in group.actors]
    return ray.get([actor.__ray_call__.remote(lambda shard: os.getpid()) for actor in actors])


def part_of(folder: Path, shards: int) -> Path:
    """Return a folder of the first shards of another."""
    manifest = Manifest.read(folder)
    place = folder.parent / f"first-{shards}"
    place.mkdir(exist_ok=True)
    for shard in manifest.shards[:shards]:
        if not (place / shard.file).exists():
            (place / shard.file).symlink_to(folder / shard.file)
    Manifest(manifest.d, manifest.metric, manifest.codebook, manifest.ids, manifest.shards[:shards]).write(
        place
    )
    return place


def singles(queries: np.ndarray, count: int) -> list[np.ndarray]:
    return [queries[i : i + 1] for i in range(min(count, len(queries)))]


@dataclass
class Taken:
    """Seconds of each search by the clock, and CPU seconds of this process and of the actors, together."""

    seconds: list[float] = field(default_factory=list)
    caller: float = 0.0
    actors: float = 0.0


def in_turns(
    indexes: list[ShardedIndex], asked: list[np.ndarray], runs: int, processes: list[int]
) -> list[Taken]:
    """Return what searches of each index take, in turns of several."""
    taken = [Taken() for _ in indexes]
    for _ in range(runs):
        for index, side in zip(indexes, taken, strict=True):
            before = [cpu_seconds(process) for process in processes]
            for queries in asked:
                began = time.perf_counter()
                index.search(queries, K)
                side.seconds.append(time.perf_counter() - began)
            used = [cpu_seconds(process) - first for process, first in zip(processes, before, strict=True)]
            side.caller += used[0]
            side.actors += sum(used[1:])
    return taken


def cpu_seconds(process: int) -> float:
    """Return the CPU time that a process has used; in steps of the kernel's, mostly 10 ms."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compared(here: Taken, there: Taken) -> dict[str, Any]:
    milliseconds = [1e3 * np.array(side.seconds) for side in (here, there)]
    return {
        "in process, ms": spread(milliseconds[0]),
        "in actors, ms": spread(milliseconds[1]),
        "ratio of the fastest": round(min(there.seconds) / min(here.seconds), 3),
        "ratio of the medians": round(median(there.seconds) / median(here.seconds), 3),
        "CPU in process, ms": round(1e3 * here.caller / len(here.seconds), 2),
        "CPU of actors, ms": round(1e3 * there.actors / len(there.seconds), 2),
        "CPU of caller, ms": round(1e3 * there.caller / len(there.seconds), 2),
    }


def spread(milliseconds: np.ndarray) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(milliseconds, p)), 3) for p in (0, 50, 99)}


def build(
    folder: Path, trained: drqfaiss.IndexDRQ, data: Dataset, options: argparse.Namespace
) -> dict[str, Any]:
    """Encode vectors with one task at a time and with two, and merge shards."""
    x = np.resize(data.base, (options.encoded, data.d))
    np.save(folder.parent / "x.npy", x)
    told: dict[str, Any] = {"vectors": options.encoded, "d": data.d, "levels": options.levels}
    for cpus in (1, 2):
        ray.init(
            "local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, object_store_memory=STORE
        )
        try:
            began = time.perf_counter()
            place = folder.parent / f"built-{cpus}"
            build_shards(trained, folder.parent / "x.npy", place, 4, progress=False)
            told[f"vectors per second, {cpus} tasks at a time"] = round(
                options.encoded / (time.perf_counter() - began)
            )
        finally:
            ray.shutdown()
    began = time.process_time()
    merged = merge_shards(folder, folder.parent / "merged", 1, ray=False, progress=False)
    told["CPU seconds to merge a million vectors"] = round(
        1e6 * (time.process_time() - began) / merged.ntotal, 3
    )
    return told


def kills(
    folder: Path, trained: drqfaiss.IndexDRQ, data: Dataset, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Kill an actor of four, then one of two machines, while queries come one by one."""
    queries = np.ascontiguousarray(np.resize(data.query, (KILLED_DURING, data.d)))
    with ShardedIndex.open(folder, ray=False) as local:
        expected = local.search(queries, K).ids
    told = []
    with cluster() as (machines, nodes), ShardedIndex.open(folder) as index:
        actors = [group.actors[0] for group in index._shards._groups]
        for lost, kill in (
            ("an actor of four", lambda: ray.kill(actors[1], no_restart=False)),
            ("one of two machines", lambda: machines.remove_node(nodes[0], allow_graceful=False)),
        ):
            told.append({"lost": lost, **searched_during(index, queries, expected, kill)})
    return told


def searched_during(
    index: ShardedIndex, queries: np.ndarray, expected: np.ndarray, kill: Callable[[], Any]
) -> dict[str, Any]:
    seconds, wrong = [], 0
    for i, query in enumerate(queries):
        if i == len(queries) // 4:
            kill()
        began = time.perf_counter()
        found = index.search(query[None], K)
        seconds.append(time.perf_counter() - began)
        wrong += not np.array_equal(found.ids[0], expected[i])
    return {
        "queries": len(queries),
        "answered": len(seconds),
        "wrong": wrong,
        "longest wait, s": round(max(seconds), 2),
        "median, ms": round(1e3 * median(seconds), 2),
    }
