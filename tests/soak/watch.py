"""Threads that work on indexes, and a watch over results, memory, threads and time."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.soak.operations import READERS, WRITERS, Operation
from tests.soak.subjects import KINDS, Subject

WORKERS = 6
SECONDS_TO_HANG = 120.0  # an operation takes milliseconds
GROWTH_ALLOWED = 24.0  # MiB of the median between the second and the last quarter of the run
SHOWN = 5  # mismatches


class ReadersWriterLock:
    """Any number of readers, or one writer, who is let in before further readers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers, self._writing, self._waiting = 0, False, 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._writing and self._readers == 0)
            self._waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()


@dataclass
class Sample:
    """The process at one moment."""

    seconds: float
    mebibytes: float
    threads: int

    @classmethod
    def now(cls, start: float) -> Sample:
        ctypes.CDLL(None).malloc_trim(0)  # what is free but kept says nothing of a leak
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return cls(time.monotonic() - start, int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]))


@dataclass
class Soak:
    """A run: its indexes, its threads, and what they saw."""

    folder: Path
    seed: int = 0
    subjects: list[Subject] = field(default_factory=list)
    locks: list[ReadersWriterLock] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    mismatches: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        for kind in KINDS:
            for metric in ("l2", "ip"):
                self.subjects.append(kind(len(self.subjects) + 100 * self.seed, metric))
                self.locks.append(ReadersWriterLock())
        self._stop = threading.Event()
        self._count = threading.Lock()
        self._since = [time.monotonic()] * WORKERS  # when each thread's operation began

    def run(self, seconds: float, line_every: float = 60.0) -> list[str]:
        """Work for so long; return what was wrong, nothing if all is well."""
        start = time.monotonic()
        workers = [threading.Thread(target=self._work, args=(i,), daemon=True) for i in range(WORKERS)]
        for worker in workers:
            worker.start()
        next_line = line_every
        while (elapsed := time.monotonic() - start) < seconds and not self._hung():
            time.sleep(min(1.0, seconds / 40))
            self.samples.append(Sample.now(start))
            if elapsed >= next_line:
                print(self.line(), flush=True)
                next_line += line_every
        self._stop.set()
        end = time.monotonic() + SECONDS_TO_HANG
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))
        if any(worker.is_alive() for worker in workers):
            faulthandler.dump_traceback()
            return [*self.mismatches, "threads hang: see their stacks above"]
        return [*self.mismatches, *self._growth()]

    def line(self) -> str:
        """Return the present state in a line."""
        last = self.samples[-1]
        return (
            f"{last.seconds:5.0f} s  {sum(self.done.values())} operations  "
            f"{len(self.mismatches)} mismatches  {last.mebibytes:.0f} MiB  {last.threads} threads  "
            f"{sum(len(subject.content.ids) for subject in self.subjects)} vectors"
        )

    def _work(self, number: int) -> None:
        rng = np.random.default_rng((self.seed, number))
        while not self._stop.is_set():
            subject = int(rng.integers(len(self.subjects)))
            writes = bool(rng.random() < 0.25)
            choices = WRITERS if writes else READERS
            shares = np.array([*choices.values()], float)
            operation = [*choices][rng.choice(len(choices), p=shares / shares.sum())]
            lock = self.locks[subject]
            with lock.writing() if writes else lock.reading():
                self._since[number] = time.monotonic()
                self._do(operation, self.subjects[subject], rng)
                self._since[number] = time.monotonic()

    def _do(self, operation: Operation, subject: Subject, rng: np.random.Generator) -> None:
        try:
            operation(subject, rng, self.folder)
        except BaseException:
            where = f"{operation.__name__} on {subject.name}, {subject.metric}"
            with self._count:
                self.mismatches.append(f"{where}:\n{traceback.format_exc()}")
                if len(self.mismatches) <= SHOWN:
                    print(self.mismatches[-1], file=sys.stderr, flush=True)
        with self._count:
            self.done[operation.__name__] += 1

    def _hung(self) -> bool:
        return time.monotonic() - min(self._since) > SECONDS_TO_HANG

    def _growth(self) -> list[str]:
        """Return what grew from the second quarter of the samples to the last."""
        quarter = len(self.samples) // 4
        early, late = self.samples[quarter : 2 * quarter], self.samples[-quarter:]
        wrong = []
        grown = np.median([s.mebibytes for s in late]) - np.median([s.mebibytes for s in early])
        if grown > GROWTH_ALLOWED:
            wrong.append(f"memory grew by {grown:.0f} MiB, expected at most {GROWTH_ALLOWED:.0f}")
        most = max(s.threads for s in self.samples[: 2 * quarter])
        if (threads := max(s.threads for s in late)) > most:
            wrong.append(f"{threads} threads at the end, expected at most the {most} of the first half")
        return wrong


def report(soak: Soak, wrong: list[str], seconds: float) -> str:
    """Return a summary in lines."""
    first, last = soak.samples[len(soak.samples) // 4], soak.samples[-1]
    lines = [f"{name:>18} {count}" for name, count in sorted(soak.done.items(), key=lambda item: -item[1])]
    lines.append(
        f"{sum(soak.done.values())} operations in {seconds / 60:.1f} minutes on {os.cpu_count()} CPUs: "
        f"{len(soak.mismatches)} mismatches, {first.mebibytes:.0f} MiB after a quarter, "
        f"{last.mebibytes:.0f} MiB at the end, at most {max(s.threads for s in soak.samples)} threads"
    )
    lines += [f"WRONG: {text.splitlines()[0]}" for text in wrong]
    return "\n".join(lines)
