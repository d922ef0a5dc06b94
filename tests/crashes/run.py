"""Ends a writer, or lets it fail, at each of its calls to the file system in turn, and looks at what is left.

A process is prepared once and forked for every kill. Prints for every writer how many calls it makes, and
what was lost. Needs shim.c, preloaded; its library is the argument.
"""

import ctypes
import errno
import json
import os
import shutil
import sys
import traceback
from pathlib import Path

import faiss
import numpy as np

import drqfaiss
from drqfaiss import build
from drqfaiss.datasets import RowRange
from tests.indexes import make_codebooks, make_index, make_vectors
from tests.ivf_indexes import make_ivf

SHIM = ctypes.CDLL(sys.argv[1])
UNTOUCHED, SUCCEEDED, RAISED, FAILED, KILLED = 0, 1, 2, 3, 99
ERRORS = {"killed": 0, "ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
FOLDER = Path("files")
VECTORS = make_vectors(60)

build.MOST_TIME_WRITING = float("inf")  # a checkpoint after every chunk


def trained():
    return drqfaiss.IndexDRQ.from_codebooks(make_codebooks())


def filled(rows):
    index = trained()
    index.add(VECTORS[:rows])
    return index


def shard(first, last):
    index = make_ivf(0)
    index.add(VECTORS[first:last])
    return index


def quantizer(seed):
    return drqfaiss.Quantizer(np.random.default_rng(seed).normal(size=(16, 8)), [1.0, 0.5])


def fill(output, vectors=VECTORS):
    build.build_index(
        FOLDER / "trained", vectors, FOLDER / output, chunk=30, checkpoint_seconds=0, progress=False
    )


def merge():
    index = drqfaiss.read_index(FOLDER / "x")
    index.merge_from(drqfaiss.read_index(FOLDER / "second"), index.ntotal)
    drqfaiss.write_index(index, FOLDER / "x")


def pair(index):
    """The contents of an index of two levels and of the side file with the others."""
    drqfaiss.split_tail(index, 2, "saved")
    return {"x": Path("saved").read_bytes(), "x.tail": Path("saved.tail").read_bytes()}


# What is there, and what is done to it; the files that this changes are to be old or new afterwards.
OLD = make_index(40)
WRITERS = {
    "write_index": ({"x": OLD}, lambda: drqfaiss.write_index(make_index(50), FOLDER / "x")),
    "write_index to a new file": ({}, lambda: drqfaiss.write_index(make_index(50), FOLDER / "x")),
    "Quantizer.save": ({"x": quantizer(0)}, lambda: quantizer(1).save(FOLDER / "x")),
    "build": ({"x": OLD, "trained": trained()}, lambda: fill("x")),
    "build of a shard": ({"trained": trained()}, lambda: fill("x", RowRange(VECTORS, 10, 50))),
    "build into its own index": ({"trained": filled(7)}, lambda: fill("trained")),
    "split_tail": (pair(OLD), lambda: drqfaiss.split_tail(make_index(50), 2, FOLDER / "x")),
    "split_tail to new files": ({}, lambda: drqfaiss.split_tail(make_index(50), 2, FOLDER / "x")),
    "merge": ({"x": shard(0, 30), "second": shard(30, 60)}, merge),
}


def main():
    report = {}
    for name, (before, write) in WRITERS.items():
        contents = {file: serialized(content) for file, content in before.items()}
        prepare(contents)
        write()
        done = snapshot()
        targets = {file for file in done if done[file] != contents.get(file)} or {"x"}
        report[name] = {"calls": 0, "lost": []}
        for how, error in ERRORS.items():
            for call in range(1, 10_000):
                prepare(contents)
                status = run(write, call, error)
                if status == UNTOUCHED:
                    break
                report[name]["calls"] = max(report[name]["calls"], call)
                report[name]["lost"] += problems(
                    f"{how} at call {call}", status, contents, done, targets, write
                )
    print(json.dumps(report))


def prepare(contents):
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for file, content in contents.items():
        (FOLDER / file).write_bytes(content)
        (FOLDER / file).chmod(0o600)


def serialized(content):
    if isinstance(content, bytes):
        return content
    if isinstance(content, faiss.Index):
        return faiss.serialize_index(content).tobytes()
    content.save("saved")
    return Path("saved").read_bytes()


def snapshot():
    return {path.name: path.read_bytes() if path.is_file() else None for path in FOLDER.iterdir()}


def run(write, call, error):
    """Write, and be struck at a call: how it ended; a kill needs a process of its own."""
    if error:
        return armed(write, call, error)
    child = os.fork()
    if child == 0:
        os._exit(armed(write, call, error))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def armed(write, call, error):
    SHIM.arm(call, error)
    try:
        write()
        return SUCCEEDED if SHIM.remaining() == 0 else UNTOUCHED
    except OSError:
        return RAISED
    except BaseException:
        traceback.print_exc()
        return FAILED
    finally:
        SHIM.arm(0, 0)


def problems(where, status, before, done, targets, write):
    """Say what is wrong after a writer was struck, and after it wrote again."""
    found = snapshot()
    told = []
    if status == FAILED or (status == KILLED) != where.startswith("killed"):
        told.append(f"{where}: ended with {status}")
    if status == SUCCEEDED and any(found.get(file) != done[file] for file in targets):
        told.append(f"{where}: reported success")
    for file in {*before, *targets}:
        if found.get(file) not in (before.get(file), done[file] if file in targets else before.get(file)):
            told.append(f"{where}: {file} is neither the old nor the new one")
    if "x.tail" in done and "x" in found:
        told += inconsistent(where)
    again(write, found, done)()
    if snapshot() != done:
        told.append(f"{where}: the next one left {sorted(snapshot())} or other content")
    return told


def inconsistent(where):
    """Say so if an index and its side file do not belong together."""
    try:
        drqfaiss.read_index(FOLDER / "x")
    except (OSError, ValueError) as error:
        return [f"{where}: {error}"]
    return []


def again(write, found, done):
    """Return how the writer is repeated. A merge that is done is not: another writer of the name follows."""
    if write is merge and found["x"] == done["x"]:
        return lambda: drqfaiss.write_index(drqfaiss.read_index(FOLDER / "x"), FOLDER / "x")
    return write


main()
