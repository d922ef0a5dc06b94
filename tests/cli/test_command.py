import json
import re
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import entry_points
from typing import get_args

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss._check import METRIC_NAMES
from drqfaiss._indexes.settings import Setting
from drqfaiss.build import CHECKPOINT_SECONDS, CHUNK_ROWS
from drqfaiss.cli import command, info, main, options


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "drqfaiss: error: got no command, expected one of plan, train, "),
        (["searhc"], 'drqfaiss: error: Unknown command "searhc". Did you mean "search"?'),
        (["search", "x.faiss", "q.npy", "-k", "0"], 'drqfaiss search: error: Invalid value "0" for -k.'),
        (["search", "x.faiss"], "drqfaiss search: error: "),
        (
            ["search", "x.faiss", "q.npy", "--levles", "2"],
            "drqfaiss search: error: Unknown option",
        ),
        (["train", "x.npy", "-o", "x", "--scale", "cubic"], 'drqfaiss train: error: Invalid value "cubic"'),
        (["eval", "x.faiss", "q.npy"], "drqfaiss eval: error: got neither, expected --base or --groundtruth"),
        (
            ["tune", "x", "q", "--base", "b", "--groundtruth", "t"],
            "drqfaiss tune: error: got --base and ",
        ),
        (["bench", "x", "--prefix-weights", "4"], "drqfaiss bench: error: "),
    ],
)
def test_wrong_commands_end_with_one_line(arguments, told, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(told)
    assert err.count("\n") == 1
    assert err.endswith("--help)\n")


def test_the_command_is_installed():
    (entry,) = entry_points(group="console_scripts", name="drqfaiss")
    assert entry.load() is main


@pytest.mark.parametrize("name", command.names())
def test_every_command_has_help_with_examples(name, capsys):
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert "--json" in out
    assert f" drqfaiss {name}" in out.partition("Examples:")[2]


@pytest.mark.parametrize("name", [None, *command.names()])
def test_help_fits_a_terminal_of_80_columns(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"] if name is None else [name, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_commands_are_listed_in_the_order_of_work(capsys):
    assert command.names() == ["plan", "train", "build", "search", "eval", "tune", "bench", "serve", "info"]
    assert main(["--help"]) == 0
    listed = re.findall(r"^│ (\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert listed == command.names()


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{drqfaiss.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(shell, capsys):
    assert main(["--show-completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("tune", "own-first", "blocks"))


@pytest.mark.parametrize("line", ["--help", "train --help", "--version", "--show-completion bash", "search"])
def test_what_only_tells_needs_neither_faiss_nor_pytorch(line):
    command = [sys.executable, "-X", "importtime", "-m", "drqfaiss", *line.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    loaded = set(re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "cyclopts" in loaded
    assert not {"faiss", "torch"} & loaded


def test_the_extra_is_named_where_it_is_missing():
    code = "import sys; sys.modules['cyclopts'] = None; import drqfaiss; drqfaiss.IndexDRQ; "
    code += "from drqfaiss.cli import main; sys.exit(main(['info']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'drqfaiss: error: the command needs pip install "drqfaiss[cli]"\n'


def test_options_come_from_what_they_are_options_of():
    offered = {option.name for option in fields(options.Training)}
    assert offered | {"seed", "progress"} == {option.name for option in fields(drqfaiss.TrainingOptions)}
    for settings in (options.Settings, options.SweptSettings):
        assert tuple(option.name for option in fields(settings)) == Setting._fields
    assert set(get_args(options.Metric)) == set(METRIC_NAMES.values())
    defaults = {option.name: option.default for option in fields(options.Build)}
    assert (defaults["chunk"], defaults["checkpoint"]) == (CHUNK_ROWS, CHECKPOINT_SECONDS)


def test_text_and_json_say_the_same(files, capsys):
    arguments = ["search", str(files / "filled.faiss"), str(files / "query.npy"), "-k", "2"]
    assert main(arguments) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert header.split() == list(rows[0]) == ["query", "rank", "id", "distance"]
    assert [line.split()[:3] for line in lines] == [[str(row[name]) for name in row][:3] for row in rows]


def test_threads_are_set_for_the_command_only(files, run):
    before = faiss.omp_get_max_threads()
    told = run("bench", files / "data.hdf5", "--factory", "Flat", "--threads", 3, "--runs", 1, "--seconds", 0)
    assert told["threads"] == 3
    assert faiss.omp_get_max_threads() == before


def test_what_is_timed_waits_without_spinning(monkeypatch):
    started = []
    monkeypatch.setattr(command.os, "execve", lambda *arguments: started.append(arguments))
    monkeypatch.setattr(sys, "argv", ["drqfaiss", "bench", "none.hdf5"])
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert main() == 1
    ((program, arguments, environment),) = started
    assert (program, arguments) == (sys.executable, sys.orig_argv)
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert main() == 1
    monkeypatch.setattr(sys, "argv", ["drqfaiss", "info"])
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert main() == 0
    assert len(started) == 1


def test_errors_have_no_traceback_and_status_1(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "drqfaiss", "info", "none.faiss"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "drqfaiss info: error: none.faiss: No such file or directory\n"


def test_a_reader_that_stops_early_is_no_error(files):
    arguments = ["search", str(files / "filled.faiss"), str(files / "base.npy"), "-k", "20"]
    process = subprocess.Popen(
        [sys.executable, "-m", "drqfaiss", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_the_keyboard_ends_a_command(monkeypatch, files):
    def interrupt(name, options):
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "run", interrupt)
    assert main(["info"]) == 130


@pytest.mark.parametrize("number", ["nan", "-1", "inf", "soon"])
def test_times_are_finite_numbers(files, number, capsys):
    trained, base = str(files / "trained.faiss"), str(files / "base.npy")
    for called in (
        ["build", trained, base, "-o", "x", "--checkpoint", number],
        ["eval", trained, base, "--seconds", number],
        ["bench", base, "--seconds", number],
    ):
        assert main(called) == 2
        told = capsys.readouterr().err
        assert called[-2] in told
        assert "expected a finite number of at least 0" in told or 'unable to convert "soon"' in told


@pytest.mark.parametrize("name", ["x.npy", "link.npy", "./x.npy"])
def test_vectors_are_not_written_over(files, fails, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vectors = tmp_path / "x.npy"
    np.save(vectors, np.load(files / "base.npy"))
    (tmp_path / "link.npy").symlink_to(vectors)
    before = vectors.read_bytes()
    for called in (["train"], ["build", files / "trained.faiss"], ["search", files / "filled.faiss"]):
        told = fails(*called, vectors, "-o", name)
        assert f"{name}: got the file of the vectors to read, expected another file to write" in told
    assert vectors.read_bytes() == before
