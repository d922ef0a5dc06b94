"""What is done to indexes under soak. Each operation checks what it got against the content."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

import drqfaiss
from tests.soak.subjects import NLIST, D, M, Subject

MOST = 3000  # vectors in an index
SECONDS_FOR_A_CHILD = 60


class Plan:
    """A search with random arguments."""

    def __init__(self, subject: Subject, rng: np.random.Generator) -> None:
        self.subject, self.content = subject, subject.content
        self.x = rng.normal(size=(int(rng.choice([1, 1, 3, 20])), D)).astype(np.float32) * 2
        self.levels, self.nprobe = int(rng.integers(1, M + 1)), int(rng.integers(1, NLIST + 1))
        self.k = int(rng.choice([1, 5, 40]))
        self.radius = float(rng.uniform(5, 40) if subject.metric == "l2" else rng.uniform(0, 10))
        self.parameters = subject.parameters(self.levels, self.nprobe)

    def search(self, index: faiss.Index) -> tuple[np.ndarray, np.ndarray]:
        return index.search(self.x, self.k, params=self.parameters)

    def range_search(self, index: faiss.Index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return index.range_search(self.x, self.radius, params=self.parameters)

    def check(self, found: tuple[np.ndarray, np.ndarray]) -> None:
        self.subject.check_search(self.x, self.content, self.levels, self.nprobe, self.k, found)

    def check_range(self, found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        self.subject.check_range(self.x, self.content, self.levels, self.nprobe, self.radius, found)


# Readers: any number at once.


def search(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    plan = Plan(subject, rng)
    plan.check(plan.search(subject.index))


def range_search(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    plan = Plan(subject, rng)
    plan.check_range(plan.range_search(subject.index))


def save_and_load(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    plan, path = Plan(subject, rng), folder / f"{rng.integers(1 << 60):x}.faiss"
    drqfaiss.write_index(subject.index, path)
    plan.check(plan.search(drqfaiss.read_index(path)))
    path.unlink()


def copy(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    plan = Plan(subject, rng)
    plan.check(plan.search(drqfaiss.clone_index(subject.index)))


def pickle_and_back(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    plan = Plan(subject, rng)
    plan.check(plan.search(drqfaiss.adopt(pickle.loads(pickle.dumps(subject.index)))))


def fork(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    """A child searches the index that it got from here, and others may be changed by threads it has not."""
    plan = Plan(subject, rng)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            plan.check(plan.search(subject.index))
            status = 0
        finally:
            os._exit(status)
    end = time.monotonic() + SECONDS_FOR_A_CHILD
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
        time.sleep(0.005)
    if done[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise AssertionError("a forked child hung")
    assert done[1] == 0, f"a forked child ended with status {done[1]}"


# Writers: one at a time, and no reader meanwhile.


def add(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    x = rng.normal(size=(int(rng.choice([1, 20, 300])), D)).astype(np.float32) * 2
    largest = int(subject.content.ids.max(initial=-1))
    ids = rng.permutation(len(x)) * 3 + largest + 1
    subject.content = subject.added(x, ids)
    if subject.has_ids:
        subject.index.add_with_ids(x, ids)
    else:
        subject.index.add(x)
    assert subject.index.ntotal == len(subject.content.ids)


def remove(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    ids = subject.content.ids
    share = 0.6 if len(ids) > MOST else float(rng.choice([0.02, 0.3]))
    gone = ids[rng.random(len(ids)) < share]
    assert subject.index.remove_ids(faiss.IDSelectorBatch(gone)) == len(gone)
    subject.content = subject.removed(gone)
    assert subject.index.ntotal == len(subject.content.ids)


def reset(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    if rng.random() < 0.1:
        subject.index.reset()
        subject.content = subject.content.without(subject.content.ids)


def pack(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    inner = subject.inner()
    if isinstance(inner, drqfaiss.IndexDRQ):
        inner.unpack() if inner.packed else inner.pack()


def adopt(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    subject.index = drqfaiss.adopt(subject.index)


def replace_by_file(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    path = folder / f"{subject.name}-{subject.metric}.faiss"
    drqfaiss.write_index(subject.index, path)
    subject.index = drqfaiss.read_index(path)


def replace_by_copy(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    subject.index = drqfaiss.clone_index(subject.index)


def replace_by_pickle(subject: Subject, rng: np.random.Generator, folder: Path) -> None:
    subject.index = drqfaiss.adopt(pickle.loads(pickle.dumps(subject.index)))


Operation = Callable[[Subject, np.random.Generator, Path], None]

# How often each is drawn, against the others.
READERS: dict[Operation, int] = {
    search: 40,
    range_search: 15,
    save_and_load: 3,
    copy: 3,
    pickle_and_back: 3,
    fork: 1,
}
WRITERS: dict[Operation, int] = {
    add: 10,
    remove: 8,
    reset: 1,
    pack: 4,
    adopt: 3,
    replace_by_file: 2,
    replace_by_copy: 2,
    replace_by_pickle: 2,
}
