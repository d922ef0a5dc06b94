"""Targets that call the command and the package with arguments of any kind."""

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import h5py
import numpy as np
from cyclopts import Argument

import drqfaiss
from drqfaiss import _core
from drqfaiss.cli import main
from drqfaiss.cli.command import names
from drqfaiss.cli.commands import app
from drqfaiss.datasets import write_vecs
from tests.conftest import AVAILABLE_LEVELS
from tests.indexes import make_codebooks, make_index, make_vectors
from tests.ivf_indexes import make_ivf

WORDS = [
    "",
    "0",
    "-1",
    "1",
    "2",
    "3",
    "8",
    "x",
    "1.5",
    "nan",
    "1e9",
    "2,4",
    "1,x",
    ",",
    "é",
    "a b",
    "--",
    str(1 << 63),
]


class CommandLines:
    """Any command line ends with a status of 0 to 2, never with a traceback."""

    def __init__(self, folder: Path) -> None:
        base, query = make_vectors(80, d=4), make_vectors(5, seed=1, d=4)
        np.save(folder / "base.npy", base)
        np.save(folder / "query.npy", query)
        write_vecs(folder / "base.fvecs", base)
        write_vecs(folder / "truth.ivecs", faiss.knn(query, base, 5)[1])
        with h5py.File(folder / "data.hdf5", "w") as file:
            file.attrs["distance"] = "euclidean"
            file["train"], file["test"], file["neighbors"] = base, query, faiss.knn(query, base, 5)[1]
        index = drqfaiss.IndexDRQ.from_codebooks(make_codebooks(d=4, levels=3))
        drqfaiss.write_index(index, folder / "trained.faiss")
        index.add(base)
        drqfaiss.write_index(index, folder / "filled.faiss")
        (folder / "empty.npy").write_bytes(b"")
        (folder / "folder").mkdir(exist_ok=True)
        self.inputs = [path.name for path in folder.iterdir()] + [
            "missing.npy",
            "data.hdf5:train",
            "data.hdf5:x",
        ]
        self.outputs = [f"out.{suffix}" for suffix in ("faiss", "npz", "npy", "ivecs", "x")] + [
            "folder/out.faiss"
        ]
        self.folder = folder
        ending = [name for name in names() if name != "serve"]  # which runs until it is told to stop
        self.options = {name: app[name].assemble_argument_collection() for name in ending}

    def run(self, rng: np.random.Generator, stock: bool = False) -> str:
        command = [*self.options][rng.integers(len(self.options))]
        line = [command, "--threads", "1", "--quiet"]
        for argument in self.options[command]:
            likely = 0.95 if argument.required else 0.15
            if rng.random() < likely and not {"*", "--threads"} & {*argument.names}:
                line += self.drawn(rng, argument)
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
                status = main(line)
        except BaseException as error:
            raise AssertionError(f"drqfaiss {line}: {error!r}") from error
        finally:
            os.chdir(before)
        assert status in (0, 1, 2), (line, status)
        assert "Traceback" not in err.getvalue(), (line, err.getvalue())
        return f"status {status}"

    def drawn(self, rng: np.random.Generator, argument: Argument) -> list[str]:
        option = [name for name in argument.names if name.startswith("-")][:1]
        if argument.hint is bool:
            return option
        words: Sequence[object] = WORDS
        choices = argument.get_choices()
        if choices and rng.random() < 0.8:
            words = choices
        elif "--output" in argument.names:
            words = self.outputs
        elif "Path" in str(argument.hint) and rng.random() < 0.9:
            words = self.inputs
        return [*option, str(words[rng.integers(len(words))])]


class Arrays:
    """Arrays of any shape and type given to the core: an error, or one answer on all SIMD levels."""

    def __init__(self, folder: Path) -> None:
        pass

    def run(self, rng: np.random.Generator, stock: bool = False) -> str:
        M, K, d = (int(n) for n in (rng.integers(1, 6), 1 << rng.integers(1, 9), rng.integers(1, 9)))
        n = int(rng.choice([0, 1, 50, 700]))
        codebooks = rng.normal(size=(M, K, d)).astype(np.float32)
        code_size = (M * (K.bit_length() - 1) + 7) // 8 + int(rng.integers(-1, 2))
        codes = rng.integers(0, 256, (n, max(0, code_size)), np.uint8)
        x = rng.normal(size=(int(rng.integers(0, 5)), d)).astype(np.float32)
        given = [odd(rng, codebooks), odd(rng, codes), odd(rng, x)]
        k, levels = (int(rng.choice([-1, 0, 1, 3, 5, 100])) for _ in range(2))
        nbits, is_l2 = [int(bits) for bits in rng.integers(K.bit_length() - 1, K.bit_length() + 1, M)], True
        if rng.random() < 0.8:
            nbits, is_l2 = [K.bit_length() - 1] * M, bool(rng.random() < 0.5)
        mask = odd(rng, rng.random(n) < 0.5) if rng.random() < 0.5 else None
        searched = (odd(rng, codebooks.ravel()), nbits, given[1], given[2])
        calls = [
            lambda: _core.ArrayIndex().search(*searched, k, levels, is_l2, mask),
            lambda: _core.ArrayIndex().range_search(*searched, 1.0, levels, is_l2, mask),
            lambda: _core.encode(given[2], given[0], k),
            lambda: _core.factor(given[0]),
            lambda: _core.code_sums(given[2], odd(rng, rng.integers(0, K, (len(x), M)).astype(np.int32)), K),
        ]
        call = calls[rng.integers(len(calls))]
        state = rng.bit_generator.state
        answers = []
        for level in AVAILABLE_LEVELS:
            _core.set_simd_level(level)
            rng.bit_generator.state = state
            try:
                answers.append(repr(call()))
            except (ValueError, TypeError):
                answers.append("refused")
        assert len(set(answers)) == 1, answers
        return "refused" if answers[0] == "refused" else "answered"


def odd(rng: np.random.Generator, array: np.ndarray) -> Any:
    """Return an array, mostly as it is, or of another type, shape or layout, or with an odd number."""
    if rng.random() < 0.75 or array.size == 0:
        return array
    with np.errstate(all="ignore"):
        kinds = [
            lambda: array.astype(rng.choice(["f2", "f8", "i8", "u1", ">f4", "?", "c16", "O"])),
            lambda: array[..., ::-1],
            lambda: np.asfortranarray(array),
            lambda: array[:-1],
            lambda: array[..., :-1],
            lambda: array[None],
            lambda: array.ravel(),
            lambda: array.tolist(),
            lambda: with_one(rng, array),
            lambda: None,
            lambda: "array",
            lambda: np.lib.stride_tricks.as_strided(array, (3, *array.shape[1:]), (0, *array.strides[1:])),
        ]
        return kinds[rng.integers(len(kinds))]()


def with_one(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """Return a copy with one odd number in it."""
    array = array.copy()
    if array.dtype.kind == "f":
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 3e38, 1e-45, 0])
    return array


class Fields:
    """Indexes whose FAISS fields are set to numbers that do not fit together: an error, or an answer.

    What ends a process that does the same with plain FAISS is no finding.
    """

    ERRORS = (ValueError, TypeError, RuntimeError, AssertionError, OverflowError, MemoryError)
    SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 64, 300, 301)

    def __init__(self, folder: Path) -> None:
        made = [make_index(60), make_index(60, "ip"), make_ivf(60), make_ivf(60, "ip", by_residual=False)]
        self.contents = [faiss.serialize_index(index) for index in made]

    def run(self, rng: np.random.Generator, stock: bool = False) -> str:
        content = self.contents[rng.integers(len(self.contents))]
        index = faiss.deserialize_index(content) if stock else drqfaiss.read_index(content)
        x = make_vectors(int(rng.integers(1, 25)), seed=2)
        try:
            if rng.random() < 0.5:
                index.search(x, 3)
            for _ in range(int(rng.integers(1, 3))):
                self.change(rng, index)
            self.use(rng, index, x)
        except self.ERRORS:
            return "refused"
        return "answered"

    def change(self, rng: np.random.Generator, index: faiss.Index) -> None:
        size = int(rng.choice(self.SIZES))
        vectors = [index.rq.codebooks, index.rq.codebook_offsets, index.rq.nbits]
        if isinstance(index, faiss.IndexIVF):
            owners, extra = [index, index.rq], ["nprobe", "by_residual"]
        else:
            owners, extra = [index, index.rq], []
            vectors.append(index.codes)
        names = [
            "d",
            "code_size",
            "ntotal",
            "M",
            "tot_bits",
            "metric_type",
            "is_trained",
            "max_beam_size",
            *extra,
        ]
        kind = rng.random()
        if kind < 0.5:
            owner, name = owners[rng.integers(2)], names[rng.integers(len(names))]
            if hasattr(owner, name):
                setattr(owner, name, size)
        elif kind < 0.8:
            vectors[rng.integers(len(vectors))].resize(size)
        else:
            vector = vectors[rng.integers(len(vectors))]
            if vector.size():
                array = faiss.vector_to_array(vector)
                array[rng.integers(len(array))] = rng.choice([0, 1, 2, 3, 5, 17, 100])
                faiss.copy_array_to_vector(array, vector)

    @staticmethod
    def use(rng: np.random.Generator, index: faiss.Index, x: np.ndarray) -> None:
        kind = int(rng.integers(5))
        if kind == 0:
            index.search(x, 3)
        elif kind == 1:
            index.range_search(x, 5.0)
        elif kind == 2:
            index.add(x)
            index.search(x, 3)
        elif kind == 3:
            index.sa_encode(x)
        else:
            index.remove_ids(np.arange(0, 20, 3))
            index.search(x, 3)
