"""Fork again and again while threads search, add and adopt; every child must answer.

usage: python tests/faiss_plugin/forks.py FORKS SECONDS

Stops after so many forks or seconds and prints how many children there were.
Exit status 1: one hung or was wrong.
"""

import os
import random
import signal
import sys
import threading
import time

import faiss
import numpy as np

import drqfaiss

D, LISTS, ROWS, QUERIES = 16, 16, 40_000, 40
CHILDREN = 4  # at a time
SECONDS_TO_ANSWER = 60


class Load:
    """Indexes, and threads that use them until the process ends."""

    def __init__(self):
        faiss.omp_set_num_threads(3)
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(ROWS, D)).astype("f4")
        codebooks = np.array([0.7**m * rng.normal(size=(64, D)) for m in range(4)])
        self.flat = drqfaiss.IndexDRQ.from_codebooks(codebooks)
        self.flat.add(self.x)
        coarse = faiss.IndexFlatL2(D)
        coarse.add(self.x[:LISTS])
        self.ivf = drqfaiss.IndexIVFDRQ.from_codebooks(coarse, codebooks)
        self.ivf.add(self.x)
        self.ivf.nprobe = 8
        self.growing = drqfaiss.IndexDRQ.from_codebooks(codebooks)
        self.expected = [search() for search in self.searches()]
        for work in (*self.searches(), self.forget, self.grow):
            threading.Thread(target=self.repeat, args=(work,), daemon=True).start()

    def searches(self):
        for index in (self.flat, self.ivf):
            yield lambda index=index: index.search(self.x[:1], 5)[1]
            yield lambda index=index: index.search(self.x[:QUERIES], 5)[1]

    def forget(self):
        drqfaiss.adopt(self.flat)  # norms are computed anew, with the index's lock held
        drqfaiss.adopt(self.ivf)
        self.flat.search(self.x[:1], 5)
        self.ivf.search(self.x[:1], 5)

    def grow(self):
        self.growing.add(self.x[:500])
        if self.growing.ntotal > 5000:
            self.growing.reset()

    @staticmethod
    def repeat(work):
        while True:
            work()

    def answers(self):
        """Whether searches, in this thread and in others, find what they found before; and adding works."""
        found = []

        def search():
            found.append(
                all(
                    np.array_equal(*pair)
                    for pair in zip(self.expected, [s() for s in self.searches()], strict=True)
                )
            )

        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        search()
        for thread in threads:
            thread.join()
        codes = self.flat.sa_encode(self.x[:100])
        self.ivf.add(self.x[:10])
        faiss.IndexFlatL2(D).search(self.x[:QUERIES], 1)
        return (
            found == [True] * 3 and codes.shape == (100, self.flat.code_size) and self.ivf.ntotal == ROWS + 10
        )


def start_child(load):
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.alarm(SECONDS_TO_ANSWER)  # ends a child that hangs
        status = 0 if load.answers() else 2
    finally:
        os._exit(status)


def main(forks, seconds):
    load, end = Load(), time.monotonic() + seconds
    statuses, running = [], []
    while len(statuses) + len(running) < forks and time.monotonic() < end:
        time.sleep(random.random() * 0.01)
        running.append(start_child(load))
        if len(running) == CHILDREN:
            statuses.append(os.waitpid(running.pop(0), 0)[1])
    statuses += [os.waitpid(child, 0)[1] for child in running]
    print(len(statuses), "forks:", {status: statuses.count(status) for status in set(statuses)})
    sys.stdout.flush()
    os._exit(int(any(statuses)))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
